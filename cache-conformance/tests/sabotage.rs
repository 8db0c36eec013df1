//! The suite can fail: a store is broken in many ways, one at a time, and for each the case is named that must catch it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_conformance::{Forwarding, Harness, Profile, run};
use cache_core::{Cache, ManualClock, Result, Stats, Ttl, Value};
use cache_locmem::{LocMemCache, LocMemOptions};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug)]
enum Fault {
    AddInTwoSteps,
    AddNeverReplaces,
    AddKeepsTheOldTimeToLive,
    CullsTooLittle,
    ClearForgetsOne,
    ContainsIgnoresEmptyValues,
    DeleteAlwaysSaysYes,
    DroppedGetsHoldTheLock,
    ExpiryIsIgnored,
    ExpiryInMonths,
    GetManySortsItsKeys,
    GetManyLeavesMissesOut,
    IncrInTwoSteps,
    IncrRestartsTheTimeToLive,
    IncrWraps,
    IncrCreates,
    KeysLoseTheirBlanks,
    KeysLoseTheirCase,
    KeysAreCutShort,
    IntegersBecomeText,
    TextBecomesIntegers,
    ValuesEndAtNul,
    WritesInTwoHalves,
    SetManyForgetsTheTimeToLive,
    TouchRevives,
    TouchNeverEndsTheExpiry,
    GetNowIsStale,
    SetNowForgetsTheTimeToLive,
    SetNowStoresAndHandsBack,
    PurgeRemovesAll,
    PurgeNeverEnds,
    StatsForgetOne,
}

/// A good store that one fault is put into.
#[derive(Debug)]
struct Broken {
    store: Arc<dyn Cache>,
    fault: Option<Fault>,
    /// What `touch` revives, and what `get_now` shows.
    first: Mutex<Option<(String, Value)>>,
    /// Held by a `get` from one await to the next.
    locked: AtomicBool,
}

impl Broken {
    fn has(&self, fault: Fault) -> bool {
        self.fault.is_some_and(|mine| mine as u8 == fault as u8)
    }

    fn key(&self, key: &str) -> String {
        match self.fault {
            Some(Fault::KeysLoseTheirBlanks) => key.trim_end().into(),
            Some(Fault::KeysLoseTheirCase) => key.to_lowercase(),
            Some(Fault::KeysAreCutShort) => key.chars().take(250).collect(),
            _ => key.into(),
        }
    }

    fn value(&self, value: Value) -> Value {
        match (self.fault, value) {
            (Some(Fault::IntegersBecomeText), Value::Int(number)) => {
                Value::Bytes(number.to_string().into())
            }
            (Some(Fault::TextBecomesIntegers), Value::Bytes(bytes)) => {
                let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
                number.map_or(Value::Bytes(bytes), Value::Int)
            }
            (Some(Fault::ValuesEndAtNul), Value::Bytes(bytes)) => {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                Value::Bytes(bytes.slice(..end))
            }
            (_, value) => value,
        }
    }

    fn ttl_for(&self, ttl: Option<Duration>) -> Option<Duration> {
        const MONTH: Duration = Duration::from_secs(30 * 86400);
        match self.fault {
            Some(Fault::ExpiryIsIgnored) => None,
            Some(Fault::ExpiryInMonths) => {
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
            .expect("nobody panics")
            .get_or_insert_with(|| (key.into(), value.clone()));
    }

    fn first(&self, key: &str) -> Option<Value> {
        let first = self.first.lock().expect("nobody panics");
        first.as_ref().filter(|(name, _)| name == key).map(|(_, value)| value.clone())
    }
}

#[async_trait]
impl Cache for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        if self.has(Fault::DroppedGetsHoldTheLock) {
            while self.locked.swap(true, SeqCst) {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
            self.locked.store(false, SeqCst);
        }
        self.store.get(&self.key(key)).await
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let (key, value, ttl) = (self.key(key), self.value(value), self.ttl_for(ttl));
        self.remember_first(&key, &value);
        if self.has(Fault::WritesInTwoHalves) {
            return self.set_in_halves(&key, value, ttl).await;
        }
        self.store.set(&key, value, ttl).await
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let (key, value, ttl) = (self.key(key), self.value(value), self.ttl_for(ttl));
        if self.has(Fault::AddInTwoSteps) {
            let there = self.store.contains(&key).await?;
            tokio::task::yield_now().await;
            if !there {
                self.store.set(&key, value, ttl).await?;
            }
            return Ok(!there);
        }
        if self.has(Fault::AddNeverReplaces) && self.first(&key).is_some() {
            return Ok(false);
        }
        let ttl = if self.has(Fault::AddKeepsTheOldTimeToLive) { None } else { ttl };
        self.store.add(&key, value, ttl).await
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        let (key, ttl) = (self.key(key), self.ttl_for(ttl));
        if self.has(Fault::TouchNeverEndsTheExpiry) && ttl.is_none() {
            return self.store.contains(&key).await;
        }
        if self.has(Fault::TouchRevives)
            && let Some(value) = self.first(&key)
        {
            self.store.set(&key, value, ttl).await?;
            return Ok(true);
        }
        self.store.touch(&key, ttl).await
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let key = self.key(key);
        let now = self.store.get(&key).await?;
        if self.has(Fault::IncrInTwoSteps)
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
        if self.has(Fault::IncrCreates) && now.is_none() {
            self.store.set(&key, Value::Int(delta), None).await?;
            return Ok(Some(delta));
        }
        let sum = self.store.incr(&key, delta).await?;
        if self.has(Fault::IncrRestartsTheTimeToLive) {
            self.store.touch(&key, Some(Duration::from_secs(300))).await?;
        }
        Ok(sum)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.store.delete(&self.key(key)).await? || self.has(Fault::DeleteAlwaysSaysYes))
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.store.ttl(&self.key(key)).await
    }

    async fn clear(&self) -> Result<()> {
        self.store.clear().await?;
        if self.has(Fault::ClearForgetsOne) {
            let first = self.first.lock().expect("nobody panics").clone();
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
        if self.has(Fault::SetNowForgetsTheTimeToLive) {
            return self.store.set_now(key, value, None);
        }
        if self.has(Fault::SetNowStoresAndHandsBack) {
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
        if self.has(Fault::GetManyLeavesMissesOut) {
            values.retain(Option::is_some);
        }
        Ok(values)
    }

    async fn stats(&self) -> Result<Stats> {
        let stats = self.store.stats().await?;
        let forgotten = u64::from(self.has(Fault::StatsForgetOne));
        Ok(Stats { entries: stats.entries.map(|entries| entries - forgotten), ..stats })
    }

    async fn purge_expired(&self, most: u64) -> Result<Option<u64>> {
        if self.has(Fault::PurgeRemovesAll) {
            self.store.clear().await?;
        }
        self.store
            .purge_expired(if self.has(Fault::PurgeNeverEnds) { u64::MAX } else { most })
            .await
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let ttl = if self.has(Fault::SetManyForgetsTheTimeToLive) { None } else { ttl };
        for (key, value) in entries {
            self.set(key, value.clone(), ttl).await?;
        }
        Ok(Vec::new())
    }
}

fn harness(fault: Option<Fault>) -> Harness {
    let time = ManualClock::new();
    let (clock, bounded_clock) = (time.clock(), time.clock());
    let locmem = |options, clock| LocMemCache::with_clock(options, clock).expect("they are valid");
    let bounded = move |max_entries: u64, cull_frequency: u64| {
        let too_little = matches!(fault, Some(Fault::CullsTooLittle));
        let cull_frequency = if too_little { max_entries } else { cull_frequency };
        let mut options = LocMemOptions::default();
        options.max_entries = max_entries.try_into().expect("it is small");
        options.cull_frequency = cull_frequency.try_into().expect("it is small");
        std::future::ready(locmem(options, bounded_clock.clone()))
    };
    Harness::new(move || std::future::ready(locmem(LocMemOptions::default(), clock.clone())))
        .with_limits(bounded)
        .wrapped_by(move |store| Broken {
            store,
            fault,
            first: Mutex::default(),
            locked: AtomicBool::new(false),
        })
        .driven_by(time)
}

fn names_of_failures(harness: &Harness) -> Vec<&'static str> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let report = runtime.expect("a runtime starts").block_on(run(harness));
    report.failed.iter().map(|failure| failure.case).collect()
}

macro_rules! is_caught {
    ($($test:ident: $fault:ident by $case:ident)+) => {
        $(#[test]
        fn $test() {
            let failures = names_of_failures(&harness(Some(Fault::$fault)));
            assert!(failures.contains(&stringify!($case)), "{:?} was caught by {failures:?}", Fault::$fault);
        })+
    };
}

is_caught! {
    an_add_in_two_steps_is_caught: AddInTwoSteps by of_32_who_add_at_once_one_succeeds
    an_add_that_never_replaces_is_caught: AddNeverReplaces by add_replaces_an_expired_entry
    an_add_without_expiry_is_caught: AddKeepsTheOldTimeToLive by an_added_entry_expires
    a_clear_that_forgets_one_is_caught: ClearForgetsOne by clear_removes_every_entry
    a_contains_that_ignores_empty_values_is_caught: ContainsIgnoresEmptyValues by contains_tells_whether_the_key_is_there
    a_delete_that_always_says_yes_is_caught: DeleteAlwaysSaysYes by delete_says_whether_there_was_an_entry
    an_expiry_that_is_ignored_is_caught: ExpiryIsIgnored by an_entry_is_gone_when_its_time_is_up
    a_long_time_to_live_taken_for_a_date_is_caught: ExpiryInMonths by a_month_is_not_too_long_a_time_to_live
    a_get_many_in_another_order_is_caught: GetManySortsItsKeys by get_many_answers_in_the_order_of_the_keys
    a_get_many_without_misses_is_caught: GetManyLeavesMissesOut by get_many_answers_in_the_order_of_the_keys
    an_incr_in_two_steps_is_caught: IncrInTwoSteps by of_64_tasks_with_200_increments_each_none_is_lost
    an_incr_that_restarts_the_time_to_live_is_caught: IncrRestartsTheTimeToLive by incr_keeps_the_time_to_live
    an_incr_that_wraps_is_caught: IncrWraps by incr_beyond_the_largest_integer_is_an_error_and_changes_nothing
    an_incr_that_creates_is_caught: IncrCreates by incr_of_a_missing_key_creates_nothing
    keys_without_their_blanks_are_caught: KeysLoseTheirBlanks by keys_that_differ_in_blanks_are_different
    keys_without_their_case_are_caught: KeysLoseTheirCase by keys_that_differ_in_case_are_different
    keys_that_are_cut_short_are_caught: KeysAreCutShort by a_longer_key_works_whole_or_is_refused
    integers_that_become_text_are_caught: IntegersBecomeText by integers_come_back_as_integers
    text_that_becomes_an_integer_is_caught: TextBecomesIntegers by bytes_that_spell_a_number_stay_bytes
    values_that_end_at_nul_are_caught: ValuesEndAtNul by bytes_come_back_byte_for_byte
    a_write_in_two_halves_is_caught: WritesInTwoHalves by readers_during_overwrites_see_the_old_value_or_the_new_one
    a_set_many_without_expiry_is_caught: SetManyForgetsTheTimeToLive by set_many_gives_every_entry_the_time_to_live
    a_touch_that_revives_is_caught: TouchRevives by touch_does_not_revive_an_expired_entry
    a_touch_that_never_ends_the_expiry_is_caught: TouchNeverEndsTheExpiry by touch_can_end_the_expiry
    a_stale_answer_without_waiting_is_caught: GetNowIsStale by an_answer_without_waiting_is_the_same_answer
    a_write_without_waiting_or_expiry_is_caught: SetNowForgetsTheTimeToLive by a_write_without_waiting_is_the_same_write
    a_write_that_is_done_and_denied_is_caught: SetNowStoresAndHandsBack by a_write_without_waiting_is_the_same_write
    a_purge_of_all_is_caught: PurgeRemovesAll by a_purge_removes_what_has_expired_and_nothing_else
    a_purge_without_an_end_is_caught: PurgeNeverEnds by a_purge_ends_where_it_is_told_to
    stats_that_forget_one_are_caught: StatsForgetOne by what_a_store_tells_of_its_entries_is_so
}

#[test]
fn a_get_that_holds_a_lock_when_it_is_dropped_is_caught() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let harness = harness(Some(Fault::DroppedGetsHoldTheLock)).with_limit(Duration::from_secs(5));
    let report = runtime.expect("a runtime starts").block_on(run(&harness));
    let failure = report
        .failed
        .iter()
        .find(|failure| failure.case == "a_dropped_operation_does_not_disturb_the_next");
    let message = &failure.expect("it fails").message;
    assert_eq!(message, "it did not end within 5s: an operation never answers");
}

#[test]
fn a_cull_that_removes_too_little_is_caught() {
    let harness = harness(Some(Fault::CullsTooLittle)).with_limit(Duration::from_secs(5));
    let failures = names_of_failures(&harness);
    for case in ["cull_leaves_two_thirds_at_frequency_3", "cull_clears_the_store_at_frequency_0"] {
        assert!(failures.contains(&case), "{failures:?}");
    }
}

#[test]
fn a_store_without_limits_is_excused_from_culling() {
    let harness = Harness::new(|| async { LocMemCache::default() });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let report = runtime.expect("a runtime starts").block_on(run(&harness));
    for case in ["cull_leaves_two_thirds_at_frequency_3", "cull_clears_the_store_at_frequency_0"] {
        let excuse = report.excused.iter().find(|(name, _)| *name == case);
        assert!(excuse.is_some_and(|(_, excuse)| excuse.contains("with_limits")), "{report}");
    }
}

#[test]
fn a_forwarding_wrapper_passes() {
    assert_eq!(names_of_failures(&harness(None).wrapped_by(Forwarding::new)), [""; 0]);
}

#[test]
fn the_store_without_a_fault_passes() {
    assert_eq!(names_of_failures(&harness(None)), [""; 0]);
}

#[test]
fn the_comparison_with_a_map_catches_faults_in_time_and_number_as_well() {
    for fault in [
        Fault::IncrRestartsTheTimeToLive,
        Fault::TouchRevives,
        Fault::ExpiryIsIgnored,
        Fault::IncrWraps,
    ] {
        let failures = names_of_failures(&harness(Some(fault)));
        assert!(
            failures.contains(&"any_sequence_of_operations_does_what_a_plain_map_does"),
            "{fault:?}: {failures:?}"
        );
    }
}

#[test]
fn a_claim_to_keep_nothing_is_refuted() {
    let harness = harness(None).with_profile(Profile { keeps_nothing: true, ..Profile::default() });
    assert!(names_of_failures(&harness).contains(&"every_read_misses"));
}

#[test]
fn a_claim_to_refuse_large_values_is_refuted() {
    let harness =
        harness(None).with_profile(Profile { largest_value: Some(1000), ..Profile::default() });
    let failures = names_of_failures(&harness);
    assert!(
        failures.contains(&"a_value_that_is_too_large_is_refused_and_leaves_nothing"),
        "{failures:?}"
    );
}
