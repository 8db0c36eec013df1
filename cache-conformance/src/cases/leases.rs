//! Leases, by two clients of one store.

use std::{sync::Arc, time::Duration};

use cache_core::{Acquired, Ask, Cache, ErrorKind, Lease, Leases, Ttl, Value};
use tokio::task::JoinHandle;

use super::{LONG, atomicity::at_once, bytes, for_each};
use crate::Harness;

/// A time that no case reaches.
const HOLD: Duration = Duration::from_secs(60);

/// The side key of `k`, as a handle composes it.
const ANY: Ask<'static> = Ask::Any { side: "shop:~:lease:1:k" };

/// What the holder of a lease saw: nothing, as for a fill, or an entry, as for a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    NothingByAny,
    Entry,
}

impl Seen {
    const ALL: [Self; 3] = [Self::Nothing, Self::NothingByAny, Self::Entry];

    fn ask(self) -> Ask<'static> {
        match self {
            Self::Nothing => Ask::Missing,
            Self::NothingByAny | Self::Entry => ANY,
        }
    }

    /// Creates two clients of a store in which `k` is as seen.
    async fn clients(self, h: &Harness) -> (Arc<dyn Cache>, Arc<dyn Cache>) {
        let (one, other) = h.clients().await;
        self.prepare(&*one).await;
        (one, other)
    }

    async fn prepare(self, store: &dyn Cache) {
        match self {
            Self::Nothing | Self::NothingByAny => {
                store.delete("k").await.unwrap();
            }
            Self::Entry => store.set("k", Value::Int(1), LONG).await.unwrap(),
        }
    }

    /// Acquires a lease of `k` for `hold`.
    async fn lease(self, store: &dyn Cache, hold: Duration) -> Lease {
        let acquired = acquire(store, self.ask(), hold).await;
        assert_eq!(acquired.value, self.value(), "{self:?}");
        acquired.lease.unwrap_or_else(|| panic!("no lease was granted on {self:?}"))
    }

    fn value(self) -> Option<Value> {
        (self == Self::Entry).then_some(Value::Int(1))
    }
}

fn leases(store: &dyn Cache) -> &dyn Leases {
    store.leases().expect("the store inside the wrapper has leases")
}

async fn acquire(store: &dyn Cache, ask: Ask<'_>, hold: Duration) -> Acquired {
    leases(store).acquire("k", ask, hold).await.unwrap()
}

async fn fill(store: &dyn Cache, lease: Lease, value: Value) -> bool {
    leases(store).fill("k", lease, value, LONG).await.unwrap()
}

async fn release(store: &dyn Cache, lease: Lease, keep: Duration) {
    leases(store).release("k", lease, keep).await.unwrap();
}

async fn is_held(store: &dyn Cache) -> bool {
    match acquire(store, ANY, HOLD).await.lease {
        Some(lease) => {
            release(store, lease, Duration::ZERO).await;
            false
        }
        None => true,
    }
}

pub(super) async fn acquire_of_an_absent_key_grants_a_lease(h: Harness) {
    for ask in [Ask::Missing, ANY] {
        let (store, _) = h.clients().await;
        let acquired = acquire(&*store, ask, HOLD).await;
        assert_eq!(acquired.value, None);
        assert!(acquired.lease.is_some(), "{ask:?}");
    }
}

pub(super) async fn acquire_of_an_expired_entry_grants_a_lease(h: Harness) {
    for_each(&h, [Ask::Missing, ANY], |h, ask| async move {
        let (store, _) = h.clients().await;
        store.set("k", bytes("old"), Some(h.moment())).await.unwrap();
        h.outlive(h.moment()).await;
        let acquired = acquire(&*store, ask, HOLD).await;
        assert_eq!(acquired.value, None);
        assert!(fill(&*store, acquired.lease.unwrap(), bytes("new")).await, "{ask:?}");
        assert_eq!(store.get("k").await.unwrap(), Some(bytes("new")));
    })
    .await;
}

pub(super) async fn acquire_of_an_entry_returns_its_value(h: Harness) {
    for value in [bytes("v"), bytes(""), Value::Int(7)] {
        let (store, _) = h.clients().await;
        store.set("k", value.clone(), LONG).await.unwrap();
        let hit = acquire(&*store, Ask::Missing, HOLD).await;
        assert_eq!(hit.value, Some(value.clone()));
        assert!(hit.lease.is_none(), "there is nothing to fill");
        let refresh = acquire(&*store, ANY, HOLD).await;
        assert_eq!(refresh.value, Some(value.clone()));
        assert!(refresh.lease.is_some(), "{value:?} can be refreshed");
    }
}

pub(super) async fn held_lease_is_not_granted_again(h: Harness) {
    for seen in Seen::ALL {
        let (one, other) = seen.clients(&h).await;
        let _lease = seen.lease(&*one, HOLD).await;
        for store in [&*one, &*other] {
            for ask in [Ask::Missing, ANY] {
                let acquired = acquire(store, ask, HOLD).await;
                assert_eq!(acquired.value, seen.value(), "{seen:?}, {ask:?}");
                assert!(acquired.lease.is_none(), "{seen:?}, {ask:?}");
            }
        }
    }
}

pub(super) async fn leases_of_two_keys_are_independent(h: Harness) {
    let (one, other) = h.clients().await;
    let lease = Seen::Nothing.lease(&*one, HOLD).await;
    let acquired = leases(&*other).acquire("K", Ask::Missing, HOLD).await.unwrap();
    other.set("b", bytes("v"), LONG).await.unwrap();
    other.delete("c").await.unwrap();
    assert!(fill(&*one, lease, bytes("v")).await);
    let second = acquired.lease.expect("the other key is not leased");
    assert!(leases(&*other).fill("K", second, bytes("V"), LONG).await.unwrap());
    assert_eq!(one.get_many(&["k", "K"]).await.unwrap(), [Some(bytes("v")), Some(bytes("V"))]);
}

pub(super) async fn one_of_16_racers_gets_the_lease(h: Harness) {
    for seen in Seen::ALL {
        let (one, other) = seen.clients(&h).await;
        for round in 0..10 {
            one.delete("k").await.unwrap();
            seen.prepare(&*one).await;
            assert_one_winner(&one, &other, seen, round).await;
        }
    }
}

pub(super) async fn one_of_16_racers_takes_over_an_expired_lease(h: Harness) {
    let rounds = if h.has_manual_time() { 20 } else { 1 };
    for_each(&h, Seen::ALL, move |h, seen| async move {
        let (one, other) = seen.clients(&h).await;
        for round in 0..rounds {
            one.delete("k").await.unwrap();
            seen.prepare(&*one).await;
            let _lost = seen.lease(&*one, h.moment()).await;
            h.outlive_lease(h.moment()).await;
            assert_one_winner(&one, &other, seen, round).await;
        }
    })
    .await;
}

/// Asserts that one racer gets the lease, and releases it: the rounds store equal bytes, and a
/// store may miss such a write.
async fn assert_one_winner(one: &Arc<dyn Cache>, other: &Arc<dyn Cache>, seen: Seen, round: usize) {
    let second = Arc::clone(other);
    let acquired = at_once(16, one, async move |store, number| {
        let store = if number % 2 == 0 { store } else { second };
        let acquired = acquire(&*store, seen.ask(), HOLD).await;
        assert_eq!(acquired.value, seen.value(), "{seen:?}");
        acquired.lease.map(|lease| (store, lease))
    });
    let mut winners: Vec<_> = acquired.await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1, "{seen:?}, round {round}");
    let (store, lease) = winners.remove(0);
    release(&*store, lease, Duration::ZERO).await;
}

pub(super) async fn leased_key_is_absent_for_every_operation(h: Harness) {
    for seen in [Seen::Nothing, Seen::NothingByAny] {
        let (one, other) = seen.clients(&h).await;
        let _lease = seen.lease(&*one, HOLD).await;
        for store in [&*one, &*other] {
            assert_eq!(store.get("k").await.unwrap(), None);
            assert_eq!(store.get_many(&["k", "other"]).await.unwrap(), [None, None]);
            assert!(!store.contains("k").await.unwrap());
            assert_eq!(store.ttl("k").await.unwrap(), None);
            if let Some(result) = store.get_now("k") {
                assert_eq!(result.unwrap(), None);
            }
        }
        assert!(!other.touch("k", LONG).await.unwrap());
        assert_eq!(other.get_and_touch("k", LONG).await.unwrap(), None);
        assert_eq!(other.incr("k", 1).await.unwrap(), None);
        assert_eq!(other.get("k").await.unwrap(), None);
    }
}

pub(super) async fn add_succeeds_on_a_leased_key(h: Harness) {
    for seen in [Seen::Nothing, Seen::NothingByAny] {
        let (one, other) = seen.clients(&h).await;
        let _lease = seen.lease(&*one, HOLD).await;
        assert!(other.add("k", bytes("added"), LONG).await.unwrap());
        assert!(!one.add("k", bytes("again"), LONG).await.unwrap());
        assert_eq!(one.get("k").await.unwrap(), Some(bytes("added")));
        assert!(matches!(one.ttl("k").await.unwrap(), Some(Ttl::Left(_))));
    }
}

pub(super) async fn get_and_touch_of_a_leased_key_is_a_miss(h: Harness) {
    for seen in [Seen::Nothing, Seen::NothingByAny] {
        for ttl in [LONG, None] {
            let (one, other) = seen.clients(&h).await;
            let _lease = seen.lease(&*one, h.moment()).await;
            assert_eq!(other.get_and_touch("k", ttl).await.unwrap(), None);
            assert!(!one.contains("k").await.unwrap());
            h.outlive_lease(h.moment()).await;
            assert!(!is_held(&*one).await, "nothing extends the lease");
        }
    }
}

pub(super) async fn incr_or_set_stores_the_initial_value_on_a_leased_key(h: Harness) {
    for seen in [Seen::Nothing, Seen::NothingByAny] {
        let (one, other) = seen.clients(&h).await;
        let _lease = seen.lease(&*one, HOLD).await;
        assert_eq!(other.incr_or_set("k", 1, 7, LONG).await.unwrap(), 7);
        assert_eq!(one.incr_or_set("k", 1, 7, LONG).await.unwrap(), 8);
        assert!(matches!(one.ttl("k").await.unwrap(), Some(Ttl::Left(_))));
    }
}

pub(super) async fn stats_do_not_count_leases(h: Harness) {
    let (one, other) = h.clients().await;
    one.set("other", bytes("v"), LONG).await.unwrap();
    let _lease = Seen::Nothing.lease(&*one, HOLD).await;
    let stats = other.stats().await.unwrap();
    assert!(stats.entries.is_none_or(|entries| entries == 1), "{stats:?}");
    assert!(stats.expired.is_none_or(|expired| expired == 0), "{stats:?}");
}

pub(super) async fn fill_stores_the_value_and_its_ttl(h: Harness) {
    for seen in Seen::ALL {
        for (value, ttl) in [(bytes("new"), LONG), (bytes(""), None), (Value::Int(-7), LONG)] {
            if h.profile().unsigned_counters && value == Value::Int(-7) {
                continue;
            }
            let (one, other) = seen.clients(&h).await;
            let lease = seen.lease(&*one, HOLD).await;
            assert!(leases(&*one).fill("k", lease, value.clone(), ttl).await.unwrap());
            assert_eq!(other.get("k").await.unwrap(), Some(value), "{seen:?}");
            let left = other.ttl("k").await.unwrap();
            match ttl {
                Some(ttl) => assert!(
                    matches!(left, Some(Ttl::Left(left)) if left <= ttl && left > ttl / 2),
                    "{seen:?}: {left:?} of {ttl:?} remain"
                ),
                None => assert_eq!(left, Some(Ttl::Never), "{seen:?}"),
            }
        }
    }
    fill_expires(&h).await;
}

async fn fill_expires(h: &Harness) {
    let (one, other) = h.clients().await;
    let lease = Seen::Nothing.lease(&*one, HOLD).await;
    assert!(leases(&*one).fill("k", lease, bytes("v"), Some(h.moment())).await.unwrap());
    h.outlive(h.moment()).await;
    assert_eq!(other.get("k").await.unwrap(), None);
}

pub(super) async fn fill_ends_the_lease(h: Harness) {
    for seen in Seen::ALL {
        let (one, other) = seen.clients(&h).await;
        let lease = seen.lease(&*one, HOLD).await;
        assert!(fill(&*one, lease, bytes("new")).await);
        assert!(!is_held(&*other).await, "{seen:?}");
    }
}

pub(super) async fn fill_with_a_ttl_of_zero_leaves_no_entry(h: Harness) {
    for seen in Seen::ALL {
        let (one, other) = seen.clients(&h).await;
        let lease = seen.lease(&*one, HOLD).await;
        let filled = leases(&*one).fill("k", lease, bytes("unseen"), Some(Duration::ZERO)).await;
        assert!(filled.unwrap(), "{seen:?}");
        assert_eq!(other.get("k").await.unwrap(), None, "{seen:?}");
        assert!(!is_held(&*other).await, "{seen:?}");

        seen.prepare(&*one).await;
        let lease = seen.lease(&*one, HOLD).await;
        other.set("k", bytes("new"), LONG).await.unwrap();
        let filled = leases(&*one).fill("k", lease, bytes("late"), Some(Duration::ZERO)).await;
        assert!(!filled.unwrap(), "{seen:?}");
        assert_eq!(other.get("k").await.unwrap(), Some(bytes("new")), "{seen:?}");
    }
}

/// Asserts that a lease is lost after `write` by the other client, which leaves `expected`.
async fn assert_lost_after<F: Future<Output = ()>>(
    h: &Harness,
    seen: Seen,
    write: impl FnOnce(Arc<dyn Cache>) -> F,
    expected: Option<Value>,
) {
    let (one, other) = seen.clients(h).await;
    let lease = seen.lease(&*one, HOLD).await;
    write(Arc::clone(&other)).await;
    assert!(!fill(&*one, lease, bytes("late")).await, "{seen:?}");
    assert_eq!(one.get("k").await.unwrap(), expected, "{seen:?}");
    assert_eq!(other.get("k").await.unwrap(), expected, "{seen:?}");
}

pub(super) async fn fill_after_set_stores_nothing(h: Harness) {
    let set = async |store: Arc<dyn Cache>| store.set("k", bytes("new"), LONG).await.unwrap();
    let set_now = async |store: Arc<dyn Cache>| match store.set_now("k", bytes("new"), LONG) {
        Ok(stored) => stored.unwrap(),
        Err(value) => store.set("k", value, LONG).await.unwrap(),
    };
    let set_many = async |store: Arc<dyn Cache>| {
        let rejected = store.set_many(&[("a", bytes("a")), ("k", bytes("new"))], LONG).await;
        assert_eq!(rejected.unwrap(), [0; 0]);
    };
    for seen in Seen::ALL {
        assert_lost_after(&h, seen, set, Some(bytes("new"))).await;
        assert_lost_after(&h, seen, set_now, Some(bytes("new"))).await;
        assert_lost_after(&h, seen, set_many, Some(bytes("new"))).await;
    }
}

pub(super) async fn fill_after_add_stores_nothing(h: Harness) {
    let add = async |store: Arc<dyn Cache>| {
        assert!(store.add("k", bytes("new"), LONG).await.unwrap());
    };
    assert_lost_after(&h, Seen::Nothing, add, Some(bytes("new"))).await;
    assert_lost_after(&h, Seen::NothingByAny, add, Some(bytes("new"))).await;
}

pub(super) async fn fill_after_incr_stores_nothing(h: Harness) {
    let incr = async |store: Arc<dyn Cache>| {
        assert_eq!(store.incr("k", 4).await.unwrap(), Some(5));
    };
    assert_lost_after(&h, Seen::Entry, incr, Some(Value::Int(5))).await;
}

pub(super) async fn fill_after_incr_or_set_stores_nothing(h: Harness) {
    let incr = async |store: Arc<dyn Cache>| {
        store.incr_or_set("k", 4, 5, LONG).await.unwrap();
    };
    for seen in Seen::ALL {
        assert_lost_after(&h, seen, incr, Some(Value::Int(5))).await;
    }
}

pub(super) async fn fill_after_delete_stores_nothing(h: Harness) {
    let delete = async |store: Arc<dyn Cache>| {
        store.delete("k").await.unwrap();
    };
    let delete_many = async |store: Arc<dyn Cache>| {
        store.delete_many(&["a", "k"]).await.unwrap();
    };
    for seen in Seen::ALL {
        assert_lost_after(&h, seen, delete, None).await;
        assert_lost_after(&h, seen, delete_many, None).await;
    }
}

pub(super) async fn fill_after_delete_and_set_stores_nothing(h: Harness) {
    let replace = async |store: Arc<dyn Cache>| {
        store.delete("k").await.unwrap();
        store.set("k", bytes("new"), LONG).await.unwrap();
    };
    for seen in Seen::ALL {
        assert_lost_after(&h, seen, replace, Some(bytes("new"))).await;
    }
}

pub(super) async fn fill_after_clear_stores_nothing(h: Harness) {
    for seen in Seen::ALL {
        let clear = async |store: Arc<dyn Cache>| store.clear().await.unwrap();
        assert_lost_after(&h, seen, clear, None).await;
    }
}

pub(super) async fn fill_after_touch_of_an_entry_stores_the_value(h: Harness) {
    for ttl in [LONG, None] {
        let (one, other) = Seen::Entry.clients(&h).await;
        let lease = Seen::Entry.lease(&*one, HOLD).await;
        assert!(other.touch("k", ttl).await.unwrap());
        assert!(other.get_and_touch("k", ttl).await.unwrap().is_some());
        assert!(fill(&*one, lease, bytes("new")).await, "a touch changes no value");
        assert_eq!(other.get("k").await.unwrap(), Some(bytes("new")));
    }
}

pub(super) async fn fill_after_the_end_of_the_lease_stores_nothing(h: Harness) {
    for_each(&h, Seen::ALL, |h, seen| async move {
        let (one, other) = seen.clients(&h).await;
        let lease = seen.lease(&*one, h.moment()).await;
        h.outlive_lease(h.moment()).await;
        assert!(!fill(&*one, lease, bytes("late")).await, "{seen:?}");
        assert_eq!(other.get("k").await.unwrap(), seen.value(), "{seen:?}");
    })
    .await;
}

pub(super) async fn fill_of_a_too_large_value_fails(h: Harness) {
    let largest = h.profile().largest_value.expect("the case is excused without a maximum");
    let (one, other) = h.clients().await;
    let lease = Seen::Nothing.lease(&*one, HOLD).await;
    let value = Value::Bytes(vec![b'x'; 2 * largest].into());
    let error = leases(&*one).fill("k", lease, value, LONG).await.expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(other.get("k").await.unwrap(), None);
}

/// The order of the two differs by round, and the write wins in either.
pub(super) async fn fills_racing_writes_are_not_stored_over_them(h: Harness) {
    for seen in Seen::ALL {
        let (one, other) = seen.clients(&h).await;
        for round in 0..20 {
            seen.prepare(&*one).await;
            let filling = start_fill(&one, seen, round).await;
            other.set("k", bytes("new"), LONG).await.unwrap();
            filling.await.unwrap();
            assert_eq!(one.get("k").await.unwrap(), Some(bytes("new")), "{seen:?}, round {round}");

            seen.prepare(&*one).await;
            let filling = start_fill(&one, seen, round).await;
            other.delete("k").await.unwrap();
            filling.await.unwrap();
            assert_eq!(one.get("k").await.unwrap(), None, "{seen:?}, round {round}");
        }
    }
}

pub(super) async fn one_of_a_fill_and_a_racing_add_stores(h: Harness) {
    let (one, other) = h.clients().await;
    for round in 0..20 {
        one.delete("k").await.unwrap();
        let filling = start_fill(&one, Seen::Nothing, round).await;
        let added = other.add("k", bytes("added"), LONG).await.unwrap();
        let filled = filling.await.unwrap();
        assert_ne!(filled, added, "round {round}");
        let expected = if filled { bytes("late") } else { bytes("added") };
        assert_eq!(one.get("k").await.unwrap(), Some(expected), "round {round}");
    }
}

/// Acquires a lease and fills in a task, which has a head start that grows with the round.
async fn start_fill(store: &Arc<dyn Cache>, seen: Seen, round: usize) -> JoinHandle<bool> {
    let lease = seen.lease(&**store, HOLD).await;
    let store = Arc::clone(store);
    let filling = tokio::spawn(async move { fill(&*store, lease, bytes("late")).await });
    for _ in 0..round % 4 {
        tokio::task::yield_now().await;
    }
    filling
}

pub(super) async fn expired_lease_is_taken_over(h: Harness) {
    for_each(&h, Seen::ALL, |h, seen| async move {
        let (one, other) = seen.clients(&h).await;
        let lost = seen.lease(&*one, h.moment()).await;
        h.outlive_lease(h.moment()).await;
        let lease = seen.lease(&*other, HOLD).await;
        assert!(!fill(&*one, lost, bytes("late")).await, "{seen:?}");
        assert!(fill(&*other, lease, bytes("new")).await, "{seen:?}");
        assert_eq!(one.get("k").await.unwrap(), Some(bytes("new")), "{seen:?}");
    })
    .await;
}

pub(super) async fn written_key_can_be_leased_again(h: Harness) {
    for seen in [Seen::Nothing, Seen::NothingByAny] {
        let (one, other) = seen.clients(&h).await;
        let _lost = seen.lease(&*one, HOLD).await;
        other.delete("k").await.unwrap();
        let lease = seen.lease(&*other, HOLD).await;
        assert!(fill(&*other, lease, bytes("new")).await, "{seen:?}");
    }
}

pub(super) async fn released_lease_is_granted_again(h: Harness) {
    for seen in Seen::ALL {
        let (one, other) = seen.clients(&h).await;
        let lease = seen.lease(&*one, HOLD).await;
        release(&*one, lease, Duration::ZERO).await;
        let lease = seen.lease(&*other, HOLD).await;
        assert!(fill(&*other, lease, bytes("new")).await, "{seen:?}");
    }
}

pub(super) async fn release_with_keep_ends_the_lease_later(h: Harness) {
    for_each(&h, Seen::ALL, |h, seen| async move {
        let (one, other) = seen.clients(&h).await;
        let lease = seen.lease(&*one, HOLD).await;
        release(&*one, lease, HOLD / 2).await;
        assert!(is_held(&*other).await, "{seen:?}");

        let (one, other) = seen.clients(&h).await;
        let lease = seen.lease(&*one, HOLD).await;
        release(&*one, lease, h.moment()).await;
        h.outlive_lease(h.moment()).await;
        assert!(!is_held(&*other).await, "{seen:?}");
    })
    .await;
}

pub(super) async fn kept_lease_ends_with_a_write(h: Harness) {
    for seen in [Seen::Nothing, Seen::NothingByAny] {
        let (one, other) = seen.clients(&h).await;
        let lease = seen.lease(&*one, HOLD).await;
        release(&*one, lease, HOLD).await;
        assert!(other.add("k", Value::Int(1), LONG).await.unwrap());
        let refresh = Seen::Entry.lease(&*one, HOLD).await;
        assert!(fill(&*one, refresh, bytes("new")).await, "{seen:?}");
    }
}

pub(super) async fn release_keeps_the_entry(h: Harness) {
    for keep in [Duration::ZERO, HOLD] {
        let (one, other) = Seen::Entry.clients(&h).await;
        let lease = Seen::Entry.lease(&*one, HOLD).await;
        release(&*one, lease, keep).await;
        assert_eq!(other.get("k").await.unwrap(), Some(Value::Int(1)), "{keep:?}");
        let left = other.ttl("k").await.unwrap();
        assert!(
            matches!(left, Some(Ttl::Left(left)) if left > Duration::from_secs(1800)),
            "{keep:?}: {left:?} of {LONG:?} remain"
        );
    }
}

pub(super) async fn release_of_a_lost_lease_changes_nothing(h: Harness) {
    for seen in Seen::ALL {
        let (one, other) = seen.clients(&h).await;
        let lost = seen.lease(&*one, HOLD).await;
        other.set("k", bytes("new"), LONG).await.unwrap();
        release(&*one, lost, Duration::ZERO).await;
        assert_eq!(other.get("k").await.unwrap(), Some(bytes("new")), "{seen:?}");
    }
    let keeps = [Duration::ZERO, h.moment()];
    let all = Seen::ALL.into_iter().flat_map(|seen| keeps.map(|keep| (seen, keep)));
    for_each(&h, all, |h, (seen, keep)| async move {
        let (one, other) = seen.clients(&h).await;
        let lost = seen.lease(&*one, h.moment()).await;
        h.outlive_lease(h.moment()).await;
        let lease = seen.lease(&*other, HOLD).await;
        release(&*one, lost, keep).await;
        h.outlive_lease(keep).await;
        assert!(is_held(&*one).await, "{seen:?}, {keep:?}");
        assert!(fill(&*other, lease, bytes("new")).await, "{seen:?}, {keep:?}");
    })
    .await;
}

pub(super) async fn revoked_lease_of_an_entry_is_granted_again(h: Harness) {
    let Ask::Any { side } = ANY else { unreachable!("it has a side key") };
    let (one, other) = Seen::Entry.clients(&h).await;
    let revoked = Seen::Entry.lease(&*one, HOLD).await;
    leases(&*other).revoke("k", side).await.unwrap();
    let lease = Seen::Entry.lease(&*other, HOLD).await;
    assert!(fill(&*other, lease, bytes("new")).await);
    assert!(!fill(&*one, revoked, bytes("late")).await, "only one of two fills stores");
    assert_eq!(one.get("k").await.unwrap(), Some(bytes("new")));
}

pub(super) async fn revoke_keeps_the_entry(h: Harness) {
    let Ask::Any { side } = ANY else { unreachable!("it has a side key") };
    let (one, other) = Seen::Entry.clients(&h).await;
    leases(&*other).revoke("k", side).await.unwrap();
    let _lease = Seen::Entry.lease(&*one, HOLD).await;
    leases(&*other).revoke("k", side).await.unwrap();
    assert_eq!(one.get("k").await.unwrap(), Some(Value::Int(1)));
    let left = one.ttl("k").await.unwrap();
    assert!(matches!(left, Some(Ttl::Left(left)) if left > Duration::from_secs(1800)), "{left:?}");
}
