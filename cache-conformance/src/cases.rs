//! The list of cases, from which the tests, the README and [`CASES`] are generated.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use cache_core::{ManualClock, Value};
use tokio::task::JoinSet;

use crate::Harness;

mod atomicity;
mod basics;
mod batches;
mod clears;
mod counters;
mod expiry;
mod fetch;
mod fetch_leases;
mod get_or_set;
mod handles;
mod inspection;
mod keeps_nothing;
mod keys;
mod leases;
mod locks;
mod model;
mod objects;
mod tags;
mod types;
mod upkeep;
mod values;
mod versions;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A case: one behaviour that the suite verifies.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The group of the case.
    pub group: &'static str,
    /// The name, a statement in snake case such as `expired_entry_is_a_miss`.
    pub name: &'static str,
    pub(crate) run: fn(Harness) -> Running,
    unless: fn(&Harness) -> Option<&'static str>,
}

impl Case {
    /// Returns why the case does not apply to the harness's stores, or `None` if it does.
    pub(crate) async fn excuse(&self, harness: &Harness) -> Option<&'static str> {
        match harness.profile().keeps_nothing {
            true if self.group != "keeps_nothing" => Some("the store keeps nothing"),
            false if self.group == "keeps_nothing" => Some("it is about stores that keep nothing"),
            _ if self.group.ends_with("leases") && !harness.has_leases().await => {
                Some("the store has no leases")
            }
            _ if self.group == "inspection" && !harness.has_inspector().await => {
                Some("the store cannot list its keys")
            }
            _ => (self.unless)(harness),
        }
    }
}

/// The reasons why a case does not apply.
mod excuses {
    use crate::Harness;

    type Excuse = Option<&'static str>;

    pub(super) fn never(_: &Harness) -> Excuse {
        None
    }

    pub(super) fn unsigned_counters(harness: &Harness) -> Excuse {
        harness.profile().unsigned_counters.then_some("counters cannot go below zero")
    }

    pub(super) fn signed_counters(harness: &Harness) -> Excuse {
        (!harness.profile().unsigned_counters).then_some("counters go below zero")
    }

    pub(super) fn small_values(harness: &Harness) -> Excuse {
        let largest = harness.profile().largest_value;
        largest.filter(|largest| *largest < 1 << 20).map(|_| "large values are rejected")
    }

    pub(super) fn any_value_size(harness: &Harness) -> Excuse {
        harness.profile().largest_value.is_none().then_some("values of any size are accepted")
    }

    pub(super) fn counted_leases(harness: &Harness) -> Excuse {
        harness.profile().counts_leases.then_some("statistics count leases")
    }

    pub(super) fn no_limits(harness: &Harness) -> Excuse {
        (!harness.has_limits()).then_some("the harness has no `with_limits`")
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __for_each_case {
    ($callback:path, $($context:tt)*) => {
        $callback! { { $($context)* }
            basics {
                unset_key_is_a_miss,
                get_returns_the_stored_value,
                set_overwrites_the_value,
                keys_are_independent,
                delete_returns_whether_the_key_existed,
                deleted_key_is_a_miss,
                contains_returns_whether_the_key_exists,
                add_stores_an_absent_key,
                add_leaves_an_existing_entry_unchanged,
                add_succeeds_after_delete,
                clear_removes_every_entry,
                clear_of_an_empty_store_succeeds,
                get_now_returns_what_get_returns,
                set_now_stores_what_set_stores,
                closed_store_reopens_on_use,
                arc_forwards_to_the_store,
            }
            values {
                integers_round_trip,
                negative_integers_round_trip unless unsigned_counters,
                bytes_round_trip,
                numeric_bytes_stay_bytes,
                empty_value_is_a_hit,
                value_of_one_mebibyte_round_trips unless small_values,
                set_of_a_too_large_value_fails_and_removes_the_entry unless any_value_size,
                add_of_a_too_large_value_leaves_the_entry_unchanged unless any_value_size,
                value_kind_can_change,
            }
            keys {
                keys_are_case_sensitive,
                keys_are_whitespace_sensitive,
                keys_are_not_normalized,
                keys_of_any_script_are_accepted,
                keys_of_250_characters_are_accepted,
                longer_keys_are_accepted_whole_or_rejected,
                ascii_characters_in_keys_are_accepted_or_rejected,
                empty_key_is_accepted_or_rejected,
                keys_are_not_interpreted,
                rejected_key_is_rejected_by_every_operation,
            }
            expiry {
                expired_entry_is_a_miss,
                entry_is_a_hit_until_it_expires,
                entry_without_ttl_never_expires,
                expired_entry_is_absent_for_every_operation,
                set_replaces_the_ttl,
                set_without_ttl_removes_the_expiry,
                add_replaces_an_expired_entry,
                added_entry_expires,
                touch_extends_the_ttl,
                touch_shortens_the_ttl,
                touch_without_ttl_removes_the_expiry,
                touch_sets_an_expiry,
                touch_keeps_the_value,
                touch_of_an_absent_key_returns_false,
                touch_does_not_revive_an_expired_entry,
                get_and_touch_returns_the_value,
                get_and_touch_replaces_the_ttl,
                get_and_touch_of_an_absent_key_is_a_miss,
                get_and_touch_does_not_revive_an_expired_entry,
                ttl_returns_the_remaining_time,
                ttl_of_more_than_30_days_is_accepted,
                ttl_of_a_thousand_years_is_accepted,
            }
            counters {
                incr_returns_the_sum,
                incr_accepts_negative_deltas,
                incr_goes_below_zero unless unsigned_counters,
                incr_below_zero_stops_at_zero unless signed_counters,
                incr_by_zero_returns_the_value,
                incr_of_an_absent_key_creates_no_entry,
                incr_keeps_the_ttl,
                incr_of_bytes_fails_and_changes_nothing,
                incr_of_whitespace_does_not_find_an_earlier_integer,
                incr_overflow_does_not_depend_on_an_earlier_value,
                incr_overflow_fails_and_changes_nothing,
                incr_underflow_fails_and_changes_nothing unless unsigned_counters,
                added_integer_can_be_incremented,
                incr_or_set_of_an_absent_key_stores_the_initial_value,
                incr_or_set_adds_to_an_existing_integer,
                counter_of_incr_or_set_is_an_integer_for_every_operation,
                incr_or_set_goes_below_zero unless unsigned_counters,
                incr_or_set_does_not_extend_the_ttl,
                incr_or_set_replaces_an_expired_entry,
                incr_or_set_of_bytes_fails_and_changes_nothing,
                incr_or_set_overflow_fails_and_changes_nothing,
            }
            batches {
                get_many_preserves_the_order_of_the_keys,
                get_many_returns_repeated_keys,
                get_many_misses_expired_entries,
                set_many_stores_every_entry,
                set_many_overwrites_entries,
                set_many_applies_the_ttl_to_every_entry,
                set_many_returns_rejected_positions unless any_value_size,
                delete_many_returns_the_number_removed,
                batch_of_200_entries_is_accepted,
                batch_of_40_000_keys_is_accepted,
            }
            atomicity {
                concurrent_add_has_one_winner,
                concurrent_add_over_an_expired_entry_has_one_winner,
                concurrent_delete_has_one_winner,
                concurrent_increments_are_not_lost,
                concurrent_incr_or_set_loses_no_count,
                incr_or_set_racing_expiry_loses_no_count,
                concurrent_readers_see_whole_values,
                touch_racing_expiry_does_not_revive_the_entry,
                get_and_touch_racing_expiry_does_not_revive_the_entry,
                increments_racing_touches_are_not_lost,
                dropped_operation_does_not_affect_the_next,
            }
            types {
                strings_round_trip,
                byte_types_round_trip,
                structs_round_trip,
                enums_round_trip,
                collections_round_trip,
                stored_none_is_a_hit,
                stored_none_exists_for_every_verb,
                unencodable_value_leaves_the_entry_unchanged,
                every_handle_decodes_every_codec,
                integers_of_any_width_can_be_incremented,
                newtypes_of_integers_can_be_incremented,
                integers_beyond_64_bits_round_trip_but_cannot_be_incremented,
                bools_and_floats_cannot_be_incremented,
                digit_strings_cannot_be_incremented,
                type_mismatch_is_a_counted_miss,
                type_mismatch_is_an_error_if_configured,
                struct_with_a_new_field_decodes_old_entries,
            }
            handles {
                set_with_timeout_zero_deletes,
                add_with_timeout_zero_stores_nothing,
                touch_with_timeout_zero_deletes,
                set_many_with_timeout_zero_deletes,
                default_timeout_comes_from_the_settings,
                touch_with_timeout_default_uses_the_settings,
                timeout_of_none_never_expires,
                key_prefixes_separate_entries,
                clear_removes_every_prefix_and_version,
                get_many_returns_the_callers_keys,
                set_many_returns_no_keys_on_success,
                incr_or_set_with_timeout_zero_stores_nothing,
                incr_or_set_with_timeout_default_uses_the_settings,
                get_and_touch_with_timeout_zero_deletes,
                get_and_touch_with_timeout_default_uses_the_settings,
                decr_subtracts,
                incr_of_an_absent_key_is_not_found,
                ttl_of_an_absent_key_is_none,
            }
            versions {
                versions_separate_entries,
                incr_version_moves_the_entry,
                incr_version_keeps_the_ttl,
                incr_version_overwrites_the_target,
                incr_version_by_zero_keeps_the_entry,
                incr_version_of_an_absent_key_is_not_found,
                decr_version_moves_the_entry_back,
            }
            get_or_set {
                get_or_set_stores_on_a_miss,
                get_or_set_does_not_produce_on_a_hit,
                get_or_set_treats_a_stored_none_as_a_hit,
                get_or_set_returns_a_concurrently_stored_value,
                failed_producer_stores_nothing,
                get_or_set_with_timeout_zero_stores_nothing,
                get_or_set_replaces_an_entry_of_another_type,
                concurrent_misses_return_one_value,
                value_produced_before_a_set_is_not_stored,
                value_produced_before_a_delete_is_not_stored,
                value_produced_before_a_clear_is_not_stored,
                value_produced_before_an_incr_is_not_stored,
                caller_of_another_process_waits_for_the_value,
                failed_producer_lets_another_process_produce,
                leases_of_this_process_protect_its_values,
                get_or_set_shared_produces_once,
            }
            objects {
                get_shared_returns_the_stored_object,
                get_returns_a_shared_object_by_value,
                get_shared_returns_a_plain_value,
                object_of_another_type_is_a_miss,
                object_decodes_as_another_type_of_the_same_shape,
                shared_integer_can_be_incremented,
                shared_object_expires,
                objects_and_values_overwrite_each_other,
            }
            leases {
                acquire_of_an_absent_key_grants_a_lease,
                acquire_of_an_expired_entry_grants_a_lease,
                acquire_of_an_entry_returns_its_value,
                held_lease_is_not_granted_again,
                leases_of_two_keys_are_independent,
                one_of_16_racers_gets_the_lease,
                one_of_16_racers_takes_over_an_expired_lease,
                leased_key_is_absent_for_every_operation,
                add_succeeds_on_a_leased_key,
                get_and_touch_of_a_leased_key_is_a_miss,
                incr_or_set_stores_the_initial_value_on_a_leased_key,
                stats_do_not_count_leases unless counted_leases,
                fill_stores_the_value_and_its_ttl,
                fill_ends_the_lease,
                fill_with_a_ttl_of_zero_leaves_no_entry,
                fill_after_set_stores_nothing,
                fill_after_add_stores_nothing,
                fill_after_incr_stores_nothing,
                fill_after_incr_or_set_stores_nothing,
                fill_after_delete_stores_nothing,
                fill_after_delete_and_set_stores_nothing,
                fill_after_clear_stores_nothing,
                fill_after_touch_of_an_entry_stores_the_value,
                fill_after_the_end_of_the_lease_stores_nothing,
                fill_of_a_too_large_value_fails unless any_value_size,
                fills_racing_writes_are_not_stored_over_them,
                one_of_a_fill_and_a_racing_add_stores,
                expired_lease_is_taken_over,
                written_key_can_be_leased_again,
                released_lease_is_granted_again,
                release_with_keep_ends_the_lease_later,
                kept_lease_ends_with_a_write,
                release_keeps_the_entry,
                release_of_a_lost_lease_changes_nothing,
                revoked_lease_of_an_entry_is_granted_again,
                revoke_keeps_the_entry,
            }
            locks {
                held_lock_excludes_all_other_callers,
                one_of_16_racers_gets_the_lock,
                released_lock_is_free,
                lock_ends_by_time,
                waiting_caller_gets_the_released_lock,
                wait_for_a_held_lock_ends,
                dropped_guard_frees_the_lock_for_its_handle,
                lock_and_entry_of_the_same_name_are_independent,
                update_replaces_the_value,
                update_with_timeout_zero_deletes,
                concurrent_updates_are_not_lost,
                updates_racing_deletes_are_not_lost,
            }
            fetch {
                fetched_value_is_stored_for_its_time_to_live_and_the_stale_time,
                stale_value_is_a_miss_for_get,
                stale_value_is_replaced,
                stale_value_is_returned_if_the_producer_fails,
                error_of_the_producer_stores_nothing,
            }
            fetch_leases {
                missing_value_is_not_stored_after_a_delete_by_another_client,
                stale_value_is_not_replaced_after_a_set_by_another_client,
                stale_value_is_returned_at_once_while_another_client_produces,
                missing_value_of_another_client_is_found,
            }
            tags {
                purge_by_another_client_removes_all_entries_of_the_tag,
                purge_of_several_tags_removes_the_entries_of_each,
                soft_purge_makes_fetched_entries_stale_and_a_hard_one_missing,
                purge_after_the_read_of_tags_wins_over_the_set,
                purge_while_a_value_is_produced_wins,
                lost_record_of_a_tag_brings_no_entry_back,
                record_of_a_tag_outlives_its_entries,
                concurrent_creators_of_a_record_agree,
                inspection_reports_the_state_of_each_tag,
            }
            clears {
                clear_of_a_generation_keeps_the_entries_of_others,
                clear_by_another_process_is_seen_a_second_later,
                value_that_is_produced_during_a_clear_is_not_stored,
                value_whose_tags_were_read_before_a_clear_is_not_found,
                lost_generation_brings_no_entry_back,
                concurrent_creators_of_a_generation_agree,
            }
            upkeep {
                stats_count_the_entries,
                stats_distinguish_expired_entries,
                purge_expired_removes_only_expired_entries,
                purge_expired_stops_at_the_maximum,
                cull_leaves_two_thirds_at_frequency_3 unless no_limits,
                cull_clears_the_store_at_frequency_0 unless no_limits,
            }
            inspection {
                empty_store_lists_no_keys,
                every_key_is_listed,
                prefix_is_compared_byte_by_byte,
                expired_key_is_not_listed_as_live,
                lease_is_not_listed_as_an_entry,
                handle_lists_its_own_keys,
                handle_lists_the_keys_of_its_generation,
                entry_has_a_place_and_a_size,
                held_lease_is_reported,
                ended_lease_is_not_reported,
            }
            model {
                random_operations_match_a_hash_map,
                random_purges_and_clears_match_a_model,
            }
            keeps_nothing {
                every_read_misses,
                every_write_succeeds,
                no_entry_can_be_changed,
                get_or_set_produces_every_time,
                every_lease_is_granted,
                every_lock_is_granted,
            }
        }
    };
}

macro_rules! list {
    (@excuse) => { excuses::never };
    (@excuse $excuse:ident) => { excuses::$excuse };
    ({} $($group:ident { $($name:ident $(unless $excuse:ident)?,)+ })+) => {
        /// All cases, in the order of the README.
        pub const CASES: &[Case] = &[
            $($(Case {
                group: stringify!($group),
                name: stringify!($name),
                run: |harness| Box::pin($group::$name(harness)),
                unless: list!(@excuse $($excuse)?),
            },)+)+
        ];
    };
}

crate::__for_each_case! { list, }

/// Runs a part of a case for each of these, and at the same time if each waits for a real clock.
async fn for_each<T, F>(
    harness: &Harness,
    all: impl IntoIterator<Item = T>,
    part: impl Fn(Harness, T) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let parts = all.into_iter().map(|one| part(harness.clone(), one));
    if harness.has_manual_time() {
        for part in parts {
            part.await;
        }
    } else {
        parts.collect::<JoinSet<()>>().join_all().await;
    }
}

/// Lets time pass for a handle that waits, and lets it ask the store again.
async fn pass_a_pause(time: &ManualClock) {
    time.advance(Duration::from_millis(100));
    // Limited by the time of the case, unlike yielding.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Returns a value of bytes.
fn bytes(text: &str) -> Value {
    Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

/// A time to live that outlasts every case.
const LONG: Option<Duration> = Some(Duration::from_secs(3600));
