//! Verifies that the suite detects faults: each test breaks a correct store in one way and names
//! the case that must fail.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cache_conformance::{CASES, Failure, Forwarding, Harness, Profile, Report, run};
use cache_core::{
    Acquired, Ask, Cache, Inspector, KeyPages, KeyState, Lease, Leases, ListedKey, Location,
    ManualClock, Result, Stats, Ttl, Value,
};
use cache_locmem::{LocMemCache, LocMemOptions};
use tokio::sync::Semaphore;

/// A fault of a store.
#[derive(Clone, Copy, Debug)]
enum Fault {
    AddIsNotAtomic,
    AddNeverReplacesExpired,
    AddIgnoresTtl,
    CullsTooLittle,
    ClearKeepsOne,
    ContainsIgnoresEmptyValues,
    DeleteAlwaysReturnsTrue,
    DroppedGetKeepsTheLock,
    TtlIsIgnored,
    LongTtlIsTakenForADate,
    GetManySortsItsKeys,
    GetManyOmitsMisses,
    IncrIsNotAtomic,
    IncrResetsTheTtl,
    IncrWraps,
    IncrCreatesEntries,
    IncrOrSetIsNotAtomic,
    IncrOrSetExtendsTheTtl,
    GetAndTouchKeepsTheTtl,
    GetAndTouchRevivesEntries,
    KeysAreTrimmed,
    KeysAreLowercased,
    KeysAreTruncated,
    IntegersBecomeBytes,
    NumericBytesBecomeIntegers,
    ValuesAreCutAtNul,
    SetIsNotAtomic,
    SetManyIgnoresTtl,
    TouchRevivesEntries,
    TouchCannotRemoveTheExpiry,
    GetNowIsStale,
    SetNowIgnoresTtl,
    SetNowStoresAndReturnsTheValue,
    PurgeRemovesEverything,
    PurgeIgnoresTheMaximum,
    StatsMissOne,
    LeasesAreLost,
    LeasesAreAlwaysGranted,
    LeasesAreNeverGranted,
    LeasesNeverEnd,
    LeasesOnlyOfAbsentKeys,
    LeasesAreEntries,
    LeasesAreCounted,
    LeasesOfAllKeysAreOne,
    LeasesEndWithTouch,
    AcquireReturnsNoValue,
    AcquireLeasesHits,
    FillIgnoresTheLease,
    FillIsNotAtomic,
    FillIgnoresTtl,
    FillStoresNothing,
    FillKeepsTheLease,
    FillOfTooLargeValuesIsTruncated,
    ReleaseDoesNothing,
    ReleaseIgnoresKeep,
    ReleaseKeepsForever,
    ReleaseDeletesTheKey,
    RevokeDoesNothing,
    RevokeDeletesTheEntry,
    InspectorIsLost,
    ListingMissesOne,
    ListingIgnoresThePrefix,
    ListingShowsExpiredAsLive,
}

/// A wrapper that adds one fault to a correct store.
#[derive(Debug)]
struct Broken {
    store: Arc<dyn Cache>,
    fault: Option<Fault>,
    /// The first entry that was set: what `touch` revives and a stale `get_now` returns.
    first: Mutex<Option<(String, Value)>>,
    /// A lock that `get` holds across an await, with one permit.
    lock: Semaphore,
}

impl Broken {
    fn has(&self, fault: Fault) -> bool {
        self.fault.is_some_and(|own| own as u8 == fault as u8)
    }

    fn key(&self, key: &str) -> String {
        match self.fault {
            Some(Fault::KeysAreTrimmed) => key.trim_end().into(),
            Some(Fault::KeysAreLowercased) => key.to_lowercase(),
            Some(Fault::KeysAreTruncated) => key.chars().take(250).collect(),
            _ => key.into(),
        }
    }

    fn value(&self, value: Value) -> Value {
        match (self.fault, value) {
            (Some(Fault::IntegersBecomeBytes), Value::Int(number)) => {
                Value::Bytes(number.to_string().into())
            }
            (Some(Fault::NumericBytesBecomeIntegers), Value::Bytes(bytes)) => {
                let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
                number.map_or(Value::Bytes(bytes), Value::Int)
            }
            (Some(Fault::ValuesAreCutAtNul), Value::Bytes(bytes)) => {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                Value::Bytes(bytes.slice(..end))
            }
            (_, value) => value,
        }
    }

    fn ttl_for(&self, ttl: Option<Duration>) -> Option<Duration> {
        const MONTH: Duration = Duration::from_secs(30 * 86400);
        match self.fault {
            Some(Fault::TtlIsIgnored) => None,
            Some(Fault::LongTtlIsTakenForADate) => {
                ttl.map(|ttl| if ttl > MONTH { Duration::from_nanos(1) } else { ttl })
            }
            _ => ttl,
        }
    }

    async fn set_in_halves(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        if let (Value::Bytes(new), Some(Value::Bytes(old))) = (&value, self.store.get(key).await?)
            && new.len() == old.len()
        {
            let half = new.len() / 2;
            let mixed = [&new[..half], &old[half..]].concat();
            self.store.set(key, Value::Bytes(mixed.into()), ttl).await?;
            tokio::task::yield_now().await;
        }
        self.store.set(key, value, ttl).await
    }

    fn remember_first(&self, key: &str, value: &Value) {
        self.first
            .lock()
            .expect("no thread panics while it holds the lock")
            .get_or_insert_with(|| (key.into(), value.clone()));
    }

    fn first(&self, key: &str) -> Option<Value> {
        let first = self.first.lock().expect("no thread panics while it holds the lock");
        first.as_ref().filter(|(name, _)| name == key).map(|(_, value)| value.clone())
    }
}

#[async_trait]
impl Cache for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        if self.has(Fault::DroppedGetKeepsTheLock) {
            self.lock.acquire().await.expect("nothing closes it").forget();
            tokio::task::yield_now().await;
            self.lock.add_permits(1);
        }
        self.store.get(&self.key(key)).await
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let (key, value, ttl) = (self.key(key), self.value(value), self.ttl_for(ttl));
        self.remember_first(&key, &value);
        if self.has(Fault::SetIsNotAtomic) {
            return self.set_in_halves(&key, value, ttl).await;
        }
        self.store.set(&key, value, ttl).await
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let (key, value, ttl) = (self.key(key), self.value(value), self.ttl_for(ttl));
        if self.has(Fault::AddIsNotAtomic) {
            let exists = self.store.contains(&key).await?;
            tokio::task::yield_now().await;
            if !exists {
                self.store.set(&key, value, ttl).await?;
            }
            return Ok(!exists);
        }
        if self.has(Fault::AddNeverReplacesExpired) && self.first(&key).is_some() {
            return Ok(false);
        }
        let ttl = if self.has(Fault::AddIgnoresTtl) { None } else { ttl };
        self.store.add(&key, value, ttl).await
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        let (key, ttl) = (self.key(key), self.ttl_for(ttl));
        if self.has(Fault::TouchCannotRemoveTheExpiry) && ttl.is_none() {
            return self.store.contains(&key).await;
        }
        if self.has(Fault::TouchRevivesEntries)
            && let Some(value) = self.first(&key)
        {
            self.store.set(&key, value, ttl).await?;
            return Ok(true);
        }
        if self.has(Fault::LeasesEndWithTouch)
            && let Some(value) = self.store.get(&key).await?
        {
            self.store.set(&key, value, ttl).await?;
            return Ok(true);
        }
        self.store.touch(&key, ttl).await
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let key = self.key(key);
        let now = self.store.get(&key).await?;
        if self.has(Fault::IncrIsNotAtomic)
            && let Some(Value::Int(number)) = now
        {
            let ttl = self.store.ttl(&key).await?.and_then(Into::into);
            tokio::task::yield_now().await;
            self.store.set(&key, Value::Int(number.saturating_add(delta)), ttl).await?;
            return Ok(Some(number.saturating_add(delta)));
        }
        if self.has(Fault::IncrWraps)
            && let Some(Value::Int(number)) = now
            && number.checked_add(delta).is_none()
        {
            self.store.set(&key, Value::Int(number.wrapping_add(delta)), None).await?;
            return Ok(Some(number.wrapping_add(delta)));
        }
        if self.has(Fault::IncrCreatesEntries) && now.is_none() {
            self.store.set(&key, Value::Int(delta), None).await?;
            return Ok(Some(delta));
        }
        let sum = self.store.incr(&key, delta).await?;
        if self.has(Fault::IncrResetsTheTtl) {
            self.store.touch(&key, Some(Duration::from_secs(300))).await?;
        }
        Ok(sum)
    }

    async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        let (key, ttl) = (self.key(key), self.ttl_for(ttl));
        if self.has(Fault::IncrOrSetIsNotAtomic) && !self.store.contains(&key).await? {
            tokio::task::yield_now().await;
            self.store.set(&key, Value::Int(initial), ttl).await?;
            return Ok(initial);
        }
        let sum = self.store.incr_or_set(&key, delta, initial, ttl).await?;
        if self.has(Fault::IncrOrSetExtendsTheTtl) {
            self.store.touch(&key, ttl).await?;
        }
        Ok(sum)
    }

    async fn get_and_touch(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        let (key, ttl) = (self.key(key), self.ttl_for(ttl));
        if self.has(Fault::GetAndTouchKeepsTheTtl) {
            return self.store.get(&key).await;
        }
        if self.has(Fault::GetAndTouchRevivesEntries)
            && let Some(value) = self.first(&key)
        {
            self.store.set(&key, value.clone(), ttl).await?;
            return Ok(Some(value));
        }
        self.store.get_and_touch(&key, ttl).await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.store.delete(&self.key(key)).await? || self.has(Fault::DeleteAlwaysReturnsTrue))
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.store.ttl(&self.key(key)).await
    }

    async fn clear(&self) -> Result<()> {
        self.store.clear().await?;
        if self.has(Fault::ClearKeepsOne) {
            let first =
                self.first.lock().expect("no thread panics while it holds the lock").clone();
            if let Some((key, value)) = first {
                self.store.set(&key, value, None).await?;
            }
        }
        Ok(())
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        if self.has(Fault::GetNowIsStale) {
            return self.first(key).map(|value| Ok(Some(value)));
        }
        self.store.get_now(&self.key(key))
    }

    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        if self.has(Fault::SetNowIgnoresTtl) {
            return self.store.set_now(key, value, None);
        }
        if self.has(Fault::SetNowStoresAndReturnsTheValue) {
            let _ = self.store.set_now(key, value.clone(), ttl);
        }
        Err(value)
    }

    fn keeps_objects(&self) -> bool {
        true
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        let key = self.key(key);
        if self.has(Fault::ContainsIgnoresEmptyValues) {
            let value = self.store.get(&key).await?;
            return Ok(
                value.is_some_and(|value| matches!(value, Value::Int(_)) || value.size() > 0)
            );
        }
        self.store.contains(&key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let mut names: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        if self.has(Fault::GetManySortsItsKeys) {
            names.sort();
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut values = self.store.get_many(&names).await?;
        if self.has(Fault::GetManyOmitsMisses) {
            values.retain(Option::is_some);
        }
        Ok(values)
    }

    async fn stats(&self) -> Result<Stats> {
        let stats = self.store.stats().await?;
        let missed = u64::from(self.has(Fault::StatsMissOne));
        let leased = u64::from(self.has(Fault::LeasesAreCounted));
        Ok(Stats { entries: stats.entries.map(|entries| entries - missed + leased), ..stats })
    }

    async fn purge_expired(&self, max: u64) -> Result<Option<u64>> {
        if self.has(Fault::PurgeRemovesEverything) {
            self.store.clear().await?;
        }
        self.store
            .purge_expired(if self.has(Fault::PurgeIgnoresTheMaximum) { u64::MAX } else { max })
            .await
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let ttl = if self.has(Fault::SetManyIgnoresTtl) { None } else { ttl };
        for (key, value) in entries {
            self.set(key, value.clone(), ttl).await?;
        }
        Ok(Vec::new())
    }

    fn leases(&self) -> Option<&dyn Leases> {
        (!self.has(Fault::LeasesAreLost)).then_some(self)
    }

    fn inspector(&self) -> Option<&dyn Inspector> {
        self.store.inspector().filter(|_| !self.has(Fault::InspectorIsLost))
    }
}

/// A store that lists its keys, with one fault.
#[derive(Debug)]
struct Listing {
    store: LocMemCache,
    fault: Option<Fault>,
    /// All keys that were ever stored.
    keys: Mutex<BTreeSet<String>>,
}

impl Listing {
    fn new(store: LocMemCache, fault: Option<Fault>) -> Self {
        Self { store, fault, keys: Mutex::default() }
    }

    fn record(&self, key: &str) {
        self.keys.lock().expect("no thread panics while it holds the lock").insert(key.into());
    }
}

#[async_trait]
impl Cache for Listing {
    cache_core::forward_cache!(self.store, except set, add, set_now, set_many, inspector);

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        self.record(key);
        self.store.set(key, value, ttl).await
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        self.record(key);
        self.store.add(key, value, ttl).await
    }

    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        self.record(key);
        self.store.set_now(key, value, ttl)
    }

    fn inspector(&self) -> Option<&dyn Inspector> {
        Some(self)
    }
}

#[async_trait]
impl Inspector for Listing {
    fn keys(&self, prefix: &str) -> Box<dyn KeyPages + '_> {
        let keys = self.keys.lock().expect("no thread panics while it holds the lock").clone();
        let missed = usize::from(matches!(self.fault, Some(Fault::ListingMissesOne)));
        let all = matches!(self.fault, Some(Fault::ListingIgnoresThePrefix));
        let keys = keys.into_iter().filter(|key| all || key.starts_with(prefix)).skip(missed);
        Box::new(Page { listing: self, keys: Some(keys.collect()) })
    }

    async fn locate(&self, _: &str, _: &str) -> Result<Location> {
        Ok(Location { place: vec![("process".into(), "this".into())], ..Location::default() })
    }
}

struct Page<'a> {
    listing: &'a Listing,
    keys: Option<Vec<String>>,
}

#[async_trait]
impl KeyPages for Page<'_> {
    async fn next_page(&mut self) -> Result<Option<Vec<ListedKey>>> {
        let Some(keys) = self.keys.take() else { return Ok(None) };
        let all = matches!(self.listing.fault, Some(Fault::ListingShowsExpiredAsLive));
        let mut page = Vec::new();
        for key in keys {
            let is_live = all || self.listing.store.contains(&key).await?;
            let state = if is_live { KeyState::Live } else { KeyState::Expired };
            page.push(ListedKey { key, state });
        }
        Ok(Some(page))
    }
}

impl Broken {
    fn wrapped_leases(&self) -> &dyn Leases {
        self.store.leases().expect("locmem has leases")
    }

    /// The key of the lease, where it is not the key of the entry.
    fn leased<'a>(&self, key: &'a str) -> &'a str {
        if self.has(Fault::LeasesOfAllKeysAreOne) { "leased" } else { key }
    }
}

#[async_trait]
impl Leases for Broken {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        const YEAR: Duration = Duration::from_secs(365 * 86400);
        let hold = if self.has(Fault::LeasesNeverEnd) { YEAR } else { hold };
        let ask = match self.fault {
            Some(Fault::LeasesOnlyOfAbsentKeys) => Ask::Missing,
            Some(Fault::AcquireLeasesHits) => Ask::Any { side: "side" },
            _ => ask,
        };
        let mut acquired = self.wrapped_leases().acquire(self.leased(key), ask, hold).await?;
        match self.fault {
            Some(Fault::LeasesAreAlwaysGranted) => {
                acquired.lease.get_or_insert_with(|| Lease::new(()));
            }
            Some(Fault::LeasesAreNeverGranted) => acquired.lease = None,
            Some(Fault::LeasesAreEntries) if acquired.value.is_none() => {
                self.store.set(key, Value::Bytes("lease".into()), Some(hold)).await?;
            }
            Some(Fault::AcquireReturnsNoValue) => acquired.value = None,
            _ => {}
        }
        Ok(acquired)
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        match self.fault {
            Some(Fault::FillIgnoresTheLease) => {
                self.store.set(key, value, ttl).await?;
                return Ok(true);
            }
            Some(Fault::FillIsNotAtomic) => {
                return self.fill_in_steps(key, lease, value, ttl).await;
            }
            Some(Fault::FillStoresNothing) => return Ok(true),
            _ => {}
        }
        let ttl = if self.has(Fault::FillIgnoresTtl) { None } else { ttl };
        let value = match value {
            Value::Bytes(bytes) if self.has(Fault::FillOfTooLargeValuesIsTruncated) => {
                Value::Bytes(bytes.slice(..bytes.len().min(100)))
            }
            value => value,
        };
        let filled = self.wrapped_leases().fill(self.leased(key), lease, value, ttl).await?;
        if self.has(Fault::FillKeepsTheLease) {
            let hold = Duration::from_secs(60);
            let _ = self.wrapped_leases().acquire(key, Ask::Any { side: "side" }, hold).await?;
        }
        Ok(filled)
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        let keep = match self.fault {
            Some(Fault::ReleaseDoesNothing) => return Ok(()),
            Some(Fault::ReleaseDeletesTheKey) => return self.store.delete(key).await.map(drop),
            Some(Fault::ReleaseIgnoresKeep) => Duration::ZERO,
            Some(Fault::ReleaseKeepsForever) if !keep.is_zero() => Duration::MAX,
            _ => keep,
        };
        self.wrapped_leases().release(self.leased(key), lease, keep).await
    }

    async fn revoke(&self, key: &str, side: &str) -> Result<()> {
        match self.fault {
            Some(Fault::RevokeDoesNothing) => Ok(()),
            Some(Fault::RevokeDeletesTheEntry) => self.store.delete(key).await.map(drop),
            _ => self.wrapped_leases().revoke(self.leased(key), side).await,
        }
    }
}

impl Broken {
    /// Looks whether the lease is valid, and stores a little later.
    async fn fill_in_steps(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let before = self.store.get(key).await?;
        let is_valid = match before.clone() {
            Some(before) => self.wrapped_leases().fill(key, lease, before, ttl).await?,
            None => {
                let is_valid = self.wrapped_leases().fill(key, lease, Value::Int(0), ttl).await?;
                if is_valid {
                    self.store.delete(key).await?;
                }
                is_valid
            }
        };
        // More often than the other task, which tokio may let run only after the second time.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        if is_valid {
            self.store.set(key, value, ttl).await?;
        }
        Ok(is_valid)
    }
}

fn harness(fault: Option<Fault>) -> Harness {
    let time = ManualClock::new();
    let (clock, bounded_clock) = (time.clock(), time.clock());
    let locmem =
        |options, clock| LocMemCache::with_clock(options, clock).expect("the options are valid");
    let bounded = move |max_entries: u64, cull_frequency: u64| {
        let too_little = matches!(fault, Some(Fault::CullsTooLittle));
        let cull_frequency = if too_little { max_entries } else { cull_frequency };
        let limit = |mut options: LocMemOptions| {
            options.max_entries = max_entries.try_into().expect("it is small");
            options.cull_frequency = cull_frequency.try_into().expect("it is small");
            options
        };
        std::future::ready(locmem(limit(LocMemOptions::default()), bounded_clock.clone()))
    };
    let listing = move || Listing::new(locmem(LocMemOptions::default(), clock.clone()), fault);
    Harness::new(move || std::future::ready(listing()))
        .with_limits(bounded)
        .wrapped_by(move |store| Broken {
            store,
            fault,
            first: Mutex::default(),
            lock: Semaphore::new(1),
        })
        .driven_by(time)
        .with_seed(1)
}

/// Runs the suite so that no fault depends on the scheduler of the system or the machine's speed.
///
/// On one thread, `yield_now` in a fault lets every other task of the case run before the fault
/// continues. The paused clock advances only when no task can run, so that a case reaches its limit
/// at once if it hangs, and never otherwise.
fn report_of(harness: &Harness) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("the runtime starts").block_on(run(harness))
}

fn names_of_failures(harness: &Harness) -> Vec<&'static str> {
    report_of(harness).failed.iter().map(|failure| failure.case).collect()
}

macro_rules! is_caught {
    ($($test:ident: $fault:ident, $case:ident;)+) => {
        $(#[test]
        fn $test() {
            let failures = names_of_failures(&harness(Some(Fault::$fault)));
            assert!(failures.contains(&stringify!($case)), "{failures:?}");
        })+
    };
}

is_caught! {
    non_atomic_add_is_caught: AddIsNotAtomic, concurrent_add_has_one_winner;
    add_that_never_replaces_is_caught: AddNeverReplacesExpired, add_replaces_an_expired_entry;
    add_without_ttl_is_caught: AddIgnoresTtl, added_entry_expires;
    incomplete_clear_is_caught: ClearKeepsOne, clear_removes_every_entry;
    contains_that_ignores_empty_values_is_caught:
        ContainsIgnoresEmptyValues, contains_returns_whether_the_key_exists;
    delete_that_always_returns_true_is_caught:
        DeleteAlwaysReturnsTrue, delete_returns_whether_the_key_existed;
    ignored_ttl_is_caught: TtlIsIgnored, expired_entry_is_a_miss;
    long_ttl_taken_for_a_date_is_caught:
        LongTtlIsTakenForADate, ttl_of_more_than_30_days_is_accepted;
    get_many_in_another_order_is_caught:
        GetManySortsItsKeys, get_many_preserves_the_order_of_the_keys;
    get_many_without_misses_is_caught:
        GetManyOmitsMisses, get_many_preserves_the_order_of_the_keys;
    non_atomic_incr_is_caught: IncrIsNotAtomic, concurrent_increments_are_not_lost;
    incr_that_resets_the_ttl_is_caught: IncrResetsTheTtl, incr_keeps_the_ttl;
    incr_that_wraps_is_caught: IncrWraps, incr_overflow_fails_and_changes_nothing;
    incr_that_creates_entries_is_caught: IncrCreatesEntries, incr_of_an_absent_key_creates_no_entry;
    non_atomic_incr_or_set_is_caught:
        IncrOrSetIsNotAtomic, concurrent_incr_or_set_loses_no_count;
    incr_or_set_that_extends_the_ttl_is_caught:
        IncrOrSetExtendsTheTtl, incr_or_set_does_not_extend_the_ttl;
    get_and_touch_that_keeps_the_ttl_is_caught:
        GetAndTouchKeepsTheTtl, get_and_touch_replaces_the_ttl;
    get_and_touch_that_revives_is_caught:
        GetAndTouchRevivesEntries, get_and_touch_does_not_revive_an_expired_entry;
    trimmed_keys_are_caught: KeysAreTrimmed, keys_are_whitespace_sensitive;
    lowercased_keys_are_caught: KeysAreLowercased, keys_are_case_sensitive;
    truncated_keys_are_caught: KeysAreTruncated, longer_keys_are_accepted_whole_or_rejected;
    integers_that_become_bytes_are_caught: IntegersBecomeBytes, integers_round_trip;
    numeric_bytes_that_become_integers_are_caught:
        NumericBytesBecomeIntegers, numeric_bytes_stay_bytes;
    values_cut_at_nul_are_caught: ValuesAreCutAtNul, bytes_round_trip;
    non_atomic_set_is_caught: SetIsNotAtomic, concurrent_readers_see_whole_values;
    set_many_without_ttl_is_caught: SetManyIgnoresTtl, set_many_applies_the_ttl_to_every_entry;
    touch_that_revives_is_caught: TouchRevivesEntries, touch_does_not_revive_an_expired_entry;
    touch_that_cannot_remove_the_expiry_is_caught:
        TouchCannotRemoveTheExpiry, touch_without_ttl_removes_the_expiry;
    stale_get_now_is_caught: GetNowIsStale, get_now_returns_what_get_returns;
    set_now_without_ttl_is_caught: SetNowIgnoresTtl, set_now_stores_what_set_stores;
    set_now_that_stores_and_returns_the_value_is_caught:
        SetNowStoresAndReturnsTheValue, set_now_stores_what_set_stores;
    purge_of_everything_is_caught:
        PurgeRemovesEverything, purge_expired_removes_only_expired_entries;
    purge_without_maximum_is_caught: PurgeIgnoresTheMaximum, purge_expired_stops_at_the_maximum;
    wrong_stats_are_caught: StatsMissOne, stats_count_the_entries;
    lost_inspector_is_caught: InspectorIsLost, every_key_is_listed;
    incomplete_listing_is_caught: ListingMissesOne, every_key_is_listed;
    listing_of_other_keys_is_caught: ListingIgnoresThePrefix, prefix_is_compared_byte_by_byte;
    listing_of_expired_keys_is_caught:
        ListingShowsExpiredAsLive, expired_key_is_not_listed_as_live;
}

macro_rules! lease_fault_is_caught {
    ($($test:ident: $fault:ident, [$($case:ident),+ $(,)?];)+) => {
        $(#[test]
        fn $test() {
            let failures = names_of_failures(&harness(Some(Fault::$fault)));
            let expected = [$(stringify!($case)),+];
            assert!(expected.iter().all(|case| failures.contains(case)), "{failures:?}");
        })+
    };
}

lease_fault_is_caught! {
    wrapper_without_leases_is_caught: LeasesAreLost, [acquire_of_an_absent_key_grants_a_lease];
    leases_that_are_always_granted_are_caught: LeasesAreAlwaysGranted, [
        acquire_of_an_entry_returns_its_value,
        held_lease_is_not_granted_again,
        one_of_16_racers_gets_the_lease,
        one_of_16_racers_takes_over_an_expired_lease,
        release_with_keep_ends_the_lease_later,
        release_of_a_lost_lease_changes_nothing,
        held_lock_excludes_all_other_callers,
        one_of_16_racers_gets_the_lock,
    ];
    leases_that_are_never_granted_are_caught: LeasesAreNeverGranted, [
        acquire_of_an_absent_key_grants_a_lease,
        acquire_of_an_expired_entry_grants_a_lease,
        acquire_of_an_entry_returns_its_value,
    ];
    leases_that_never_end_are_caught: LeasesNeverEnd, [
        one_of_16_racers_takes_over_an_expired_lease,
        fill_after_the_end_of_the_lease_stores_nothing,
        expired_lease_is_taken_over,
        lock_ends_by_time,
    ];
    leases_of_absent_keys_only_are_caught:
        LeasesOnlyOfAbsentKeys, [acquire_of_an_entry_returns_its_value];
    leases_that_are_entries_are_caught: LeasesAreEntries, [
        leased_key_is_absent_for_every_operation,
        add_succeeds_on_a_leased_key,
        fill_stores_the_value_and_its_ttl,
        kept_lease_ends_with_a_write,
        one_of_a_fill_and_a_racing_add_stores,
    ];
    one_lease_for_all_keys_is_caught: LeasesOfAllKeysAreOne, [
        leases_of_two_keys_are_independent,
        written_key_can_be_leased_again,
    ];
    leases_that_end_with_a_touch_are_caught:
        LeasesEndWithTouch, [fill_after_touch_of_an_entry_stores_the_value];
    acquire_without_the_value_is_caught:
        AcquireReturnsNoValue, [acquire_of_an_entry_returns_its_value];
    acquire_that_leases_hits_is_caught:
        AcquireLeasesHits, [acquire_of_an_entry_returns_its_value];
    fill_without_a_valid_lease_is_caught: FillIgnoresTheLease, [
        fill_after_set_stores_nothing,
        fill_after_add_stores_nothing,
        fill_after_incr_stores_nothing,
        fill_after_delete_stores_nothing,
        fill_after_delete_and_set_stores_nothing,
        fill_after_clear_stores_nothing,
        fill_after_the_end_of_the_lease_stores_nothing,
        expired_lease_is_taken_over,
        fills_racing_writes_are_not_stored_over_them,
        one_of_a_fill_and_a_racing_add_stores,
    ];
    non_atomic_fill_is_caught: FillIsNotAtomic, [
        fills_racing_writes_are_not_stored_over_them,
        one_of_a_fill_and_a_racing_add_stores,
    ];
    fill_without_ttl_is_caught: FillIgnoresTtl, [
        fill_stores_the_value_and_its_ttl,
        fill_with_a_ttl_of_zero_leaves_no_entry,
    ];
    fill_that_stores_nothing_is_caught: FillStoresNothing, [
        acquire_of_an_expired_entry_grants_a_lease,
        fill_stores_the_value_and_its_ttl,
        fill_ends_the_lease,
    ];
    fill_that_keeps_the_lease_is_caught: FillKeepsTheLease, [fill_ends_the_lease];
    release_that_does_nothing_is_caught:
        ReleaseDoesNothing, [released_lease_is_granted_again, released_lock_is_free];
    release_that_ignores_keep_is_caught:
        ReleaseIgnoresKeep, [release_with_keep_ends_the_lease_later];
    release_that_keeps_forever_is_caught:
        ReleaseKeepsForever, [release_with_keep_ends_the_lease_later];
    release_that_deletes_is_caught: ReleaseDeletesTheKey, [
        release_keeps_the_entry,
        release_of_a_lost_lease_changes_nothing,
    ];
    revoke_that_does_nothing_is_caught:
        RevokeDoesNothing, [revoked_lease_of_an_entry_is_granted_again];
    revoke_that_deletes_is_caught: RevokeDeletesTheEntry, [
        revoked_lease_of_an_entry_is_granted_again,
        revoke_keeps_the_entry,
    ];
}

/// The cases about culling would wait for the entry that statistics add.
#[test]
fn leases_in_statistics_are_caught() {
    let harness = harness(Some(Fault::LeasesAreCounted)).with_limit(Duration::from_secs(5));
    let failures = names_of_failures(&harness);
    assert!(failures.contains(&"stats_do_not_count_leases"), "{failures:?}");
}

#[test]
fn fill_of_a_part_of_a_value_is_caught() {
    let harness = harness(Some(Fault::FillOfTooLargeValuesIsTruncated))
        .with_profile(Profile { largest_value: Some(1000), ..Profile::default() });
    let failures = names_of_failures(&harness);
    assert!(failures.contains(&"fill_of_a_too_large_value_fails"), "{failures:?}");
}

#[test]
fn store_without_leases_is_excused_from_their_cases() {
    let time = ManualClock::new();
    let clock = time.clock();
    let create = move || {
        let store = LocMemCache::with_clock(LocMemOptions::default(), clock.clone());
        WithoutLeases(store.expect("the options are valid"))
    };
    let report = report_of(&Harness::new(move || std::future::ready(create())).driven_by(time));
    assert!(report.failed.is_empty(), "{report}");
    let of_leases = |name: &str| CASES.iter().any(|c| c.group == "leases" && c.name == name);
    let excused = report.excused.iter().filter(|(name, _)| of_leases(name));
    let cases = CASES.iter().filter(|case| case.group == "leases").count();
    assert_eq!(excused.clone().count(), cases);
    assert!(excused.map(|(_, excuse)| excuse).all(|excuse| excuse.contains("no leases")));
}

#[derive(Debug)]
struct WithoutLeases(LocMemCache);

impl Cache for WithoutLeases {
    cache_core::forward_cache!(self.0, except leases);
}

#[test]
fn dropped_get_that_keeps_a_lock_is_caught() {
    let report = report_of(&harness(Some(Fault::DroppedGetKeepsTheLock)));
    let is_this = |failure: &&Failure| failure.case == "dropped_operation_does_not_affect_the_next";
    let message = &report.failed.iter().find(is_this).expect("the case fails").message;
    assert!(message.contains("did not finish"), "{message}");
}

const CULL_CASES: [&str; 2] =
    ["cull_leaves_two_thirds_at_frequency_3", "cull_clears_the_store_at_frequency_0"];

#[test]
fn cull_that_removes_too_little_is_caught() {
    let harness = harness(Some(Fault::CullsTooLittle)).with_limit(Duration::from_secs(5));
    let failures = names_of_failures(&harness);
    assert!(CULL_CASES.iter().all(|case| failures.contains(case)), "{failures:?}");
}

#[test]
fn store_without_limits_is_excused_from_the_cull_cases() {
    let report = report_of(&Harness::new(|| async { LocMemCache::default() }));
    for case in CULL_CASES {
        let excuse = report.excused.iter().find(|(name, _)| *name == case);
        assert!(excuse.is_some_and(|(_, excuse)| excuse.contains("with_limits")), "{report}");
    }
}

#[test]
fn store_without_a_fault_passes() {
    assert_eq!(names_of_failures(&harness(None)), [""; 0]);
}

#[test]
fn forwarding_wrapper_passes() {
    assert_eq!(names_of_failures(&harness(None).wrapped_by(Forwarding::new)), [""; 0]);
}

#[test]
fn random_operations_catch_faults_of_ttl_and_number() {
    for fault in
        [Fault::IncrResetsTheTtl, Fault::TouchRevivesEntries, Fault::TtlIsIgnored, Fault::IncrWraps]
    {
        let failures = names_of_failures(&harness(Some(fault)));
        assert!(
            failures.contains(&"random_operations_match_a_hash_map"),
            "{fault:?}: {failures:?}"
        );
    }
}

#[test]
fn group_with_a_failing_case_fails_and_names_it() {
    let run = |fault| {
        std::panic::catch_unwind(|| cache_conformance::__run_group("expiry", || harness(fault)))
    };
    assert!(run(None).is_ok());
    let payload = run(Some(Fault::TtlIsIgnored)).expect_err("cases fail");
    let message = payload.downcast_ref::<String>().expect("a message");
    assert!(message.contains("FAILED: expired_entry_is_a_miss"), "{message}");
}

#[test]
fn false_claim_to_keep_nothing_is_caught() {
    let harness = harness(None).with_profile(Profile { keeps_nothing: true, ..Profile::default() });
    assert!(names_of_failures(&harness).contains(&"every_read_misses"));
}

#[test]
fn false_claim_to_reject_large_values_is_caught() {
    let harness =
        harness(None).with_profile(Profile { largest_value: Some(1000), ..Profile::default() });
    let failures = names_of_failures(&harness);
    assert!(
        failures.contains(&"set_of_a_too_large_value_fails_and_removes_the_entry"),
        "{failures:?}"
    );
}
