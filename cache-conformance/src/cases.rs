//! The list of cases: the tests, the README and [`CASES`] are all made from it.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use cache_core::Value;

use crate::Harness;

mod atomicity;
mod counters;
mod expiry;
mod handles;
mod keys;
mod making;
mod many;
mod model;
mod nothing;
mod objects;
mod reading_and_writing;
mod types;
mod upkeep;
mod values;
mod versions;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its group: the module it is in.
    pub group: &'static str,
    /// What holds, as a sentence with underscores.
    pub name: &'static str,
    pub(crate) run: fn(Harness) -> Running,
    unless: fn(&Harness) -> Option<&'static str>,
}

impl Case {
    /// The name as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.name.replace('_', " ")
    }

    /// Returns why the case does not apply to the harness's stores, or `None` if it does.
    pub(crate) fn excuse(&self, harness: &Harness) -> Option<&'static str> {
        match harness.profile().keeps_nothing {
            true if self.group != "nothing" => Some("the store keeps nothing"),
            false if self.group == "nothing" => Some("it is about stores that keep nothing"),
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

    pub(super) fn no_limits(harness: &Harness) -> Excuse {
        (!harness.has_limits()).then_some("the harness has no `with_limits`")
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __for_each_case {
    ($callback:path, $($context:tt)*) => {
        $callback! { { $($context)* }
            reading_and_writing {
                a_key_that_was_never_set_is_a_miss,
                a_value_that_was_set_is_got_back,
                a_second_set_overwrites_the_value,
                keys_do_not_see_each_other,
                delete_says_whether_there_was_an_entry,
                a_deleted_key_is_a_miss,
                contains_tells_whether_the_key_is_there,
                add_stores_where_there_is_nothing,
                add_leaves_an_entry_as_it_is,
                add_works_again_after_delete,
                clear_removes_every_entry,
                clear_of_an_empty_store_is_fine,
                an_answer_without_waiting_is_the_same_answer,
                a_write_without_waiting_is_the_same_write,
                a_closed_store_is_usable_again,
                an_arc_of_a_store_is_the_store,
            }
            values {
                integers_come_back_as_integers,
                negative_integers_come_back_as_integers unless unsigned_counters,
                bytes_come_back_byte_for_byte,
                bytes_that_spell_a_number_stay_bytes,
                an_empty_value_is_a_value,
                a_value_of_one_mebibyte_comes_back unless small_values,
                a_value_that_is_too_large_is_refused_and_leaves_nothing unless any_value_size,
                adding_a_value_that_is_too_large_leaves_what_is_there unless any_value_size,
                a_value_may_change_its_kind,
            }
            keys {
                keys_that_differ_in_case_are_different,
                keys_that_differ_in_blanks_are_different,
                keys_that_look_alike_are_different,
                keys_of_any_script_work,
                keys_of_250_characters_work,
                a_longer_key_works_whole_or_is_refused,
                any_ascii_character_in_a_key_works_or_is_refused,
                the_empty_key_works_or_is_refused,
                a_key_that_could_mean_something_elsewhere_is_just_a_key,
                a_refused_key_is_refused_by_every_operation,
            }
            expiry {
                an_entry_is_gone_when_its_time_is_up,
                an_entry_is_there_until_its_time_is_up,
                an_entry_without_a_time_to_live_stays,
                an_expired_entry_is_absent_in_every_respect,
                a_set_gives_the_entry_a_new_time_to_live,
                a_set_without_a_time_to_live_ends_the_expiry,
                add_replaces_an_expired_entry,
                an_added_entry_expires,
                touch_makes_an_entry_live_longer,
                touch_makes_an_entry_live_shorter,
                touch_can_end_the_expiry,
                touch_can_begin_the_expiry,
                touch_leaves_the_value_as_it_is,
                touch_of_a_missing_key_says_so,
                touch_does_not_revive_an_expired_entry,
                the_time_that_is_left_is_told,
                a_month_is_not_too_long_a_time_to_live,
                a_thousand_years_are_not_too_long_a_time_to_live,
            }
            counters {
                incr_adds_and_answers_the_sum,
                incr_takes_negative_numbers,
                incr_goes_below_zero unless unsigned_counters,
                incr_below_zero_stops_at_zero unless signed_counters,
                incr_by_zero_reads_the_counter,
                incr_of_a_missing_key_creates_nothing,
                incr_keeps_the_time_to_live,
                incr_of_bytes_is_an_error_and_changes_nothing,
                incr_of_blanks_finds_no_integer_that_was_there_before,
                incr_beyond_the_largest_integer_changes_nothing_whatever_was_there_before,
                incr_beyond_the_largest_integer_is_an_error_and_changes_nothing,
                incr_beyond_the_smallest_integer_is_an_error_and_changes_nothing unless unsigned_counters,
                an_added_integer_can_be_counted,
            }
            many {
                get_many_answers_in_the_order_of_the_keys,
                get_many_answers_a_key_as_often_as_it_is_asked,
                get_many_misses_what_has_expired,
                set_many_stores_every_entry,
                set_many_overwrites,
                set_many_gives_every_entry_the_time_to_live,
                set_many_answers_what_was_refused unless any_value_size,
                delete_many_removes_and_counts,
                two_hundred_entries_at_once_are_fine,
                forty_thousand_keys_at_once_are_fine,
            }
            atomicity {
                of_32_who_add_at_once_one_succeeds,
                of_32_who_add_over_an_expired_entry_one_succeeds,
                of_32_who_delete_at_once_one_succeeds,
                of_64_tasks_with_200_increments_each_none_is_lost,
                readers_during_overwrites_see_the_old_value_or_the_new_one,
                touch_against_expiry_never_revives,
                increments_against_touches_lose_nothing,
                a_dropped_operation_does_not_disturb_the_next,
            }
            types {
                a_text_comes_back,
                bytes_come_back_as_whatever_holds_bytes,
                a_struct_comes_back,
                an_enum_comes_back,
                collections_come_back,
                a_stored_none_is_a_hit,
                a_stored_none_is_there_for_every_verb,
                a_value_that_cannot_be_written_leaves_the_old_entry,
                every_codec_writes_what_every_handle_reads,
                an_integer_of_any_width_can_be_counted,
                a_newtype_of_an_integer_can_be_counted,
                an_integer_beyond_64_bits_comes_back_but_is_no_counter,
                truth_values_and_floats_are_no_counters,
                a_text_of_digits_is_no_counter,
                a_wrong_type_is_a_miss_that_is_counted,
                a_wrong_type_is_an_error_where_that_is_asked_for,
                a_struct_that_gained_a_field_reads_old_entries,
            }
            handles {
                timeout_zero_deletes_on_set,
                timeout_zero_on_add_answers_but_leaves_nothing,
                timeout_zero_deletes_on_touch,
                timeout_zero_on_set_many_deletes,
                the_default_timeout_is_the_alias_s,
                touch_without_a_timeout_takes_the_default,
                a_timeout_of_none_is_never,
                prefixes_keep_entries_apart,
                clear_empties_every_prefix_and_version,
                get_many_answers_by_the_callers_keys,
                set_many_answers_no_keys_when_all_is_well,
                decr_subtracts,
                incr_of_a_missing_key_is_not_found,
                the_ttl_of_a_missing_key_is_none,
            }
            versions {
                versions_keep_entries_apart,
                incr_version_moves_the_entry,
                incr_version_keeps_the_time_to_live,
                incr_version_replaces_what_is_at_the_target,
                incr_version_by_zero_leaves_the_entry,
                incr_version_of_a_missing_key_is_not_found,
                decr_version_moves_the_entry_back,
            }
            making {
                get_or_set_stores_what_was_missing,
                get_or_set_of_a_hit_produces_nothing,
                get_or_set_takes_a_stored_none_for_a_hit,
                what_somebody_else_stored_meanwhile_wins,
                a_producer_that_fails_stores_nothing,
                get_or_set_with_timeout_zero_answers_and_stores_nothing,
                get_or_set_replaces_an_entry_of_another_type,
                all_who_miss_at_once_end_with_one_value,
                an_object_is_made_once_and_shared,
            }
            objects {
                an_object_comes_back_shared,
                an_object_comes_back_by_value,
                a_value_comes_back_shared,
                an_object_of_another_type_is_a_miss,
                an_object_reads_as_another_type_of_the_same_shape,
                a_shared_integer_can_be_counted,
                an_object_expires,
                objects_and_values_overwrite_each_other,
            }
            upkeep {
                what_a_store_tells_of_its_entries_is_so,
                what_has_expired_is_told_from_what_has_not,
                a_purge_removes_what_has_expired_and_nothing_else,
                a_purge_ends_where_it_is_told_to,
                cull_leaves_two_thirds_at_frequency_3 unless no_limits,
                cull_clears_the_store_at_frequency_0 unless no_limits,
            }
            model {
                any_sequence_of_operations_does_what_a_plain_map_does,
            }
            nothing {
                every_read_misses,
                every_write_succeeds,
                nothing_can_be_changed,
                get_or_set_produces_each_time,
            }
        }
    };
}

macro_rules! list {
    (@excuse) => { excuses::never };
    (@excuse $excuse:ident) => { excuses::$excuse };
    ({} $($group:ident { $($name:ident $(unless $excuse:ident)?,)+ })+) => {
        /// Every case, in the order of the README.
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

/// Bytes that are no number to any store.
fn bytes(text: &str) -> Value {
    Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

/// A time to live that does not end during a case.
const LONG: Option<Duration> = Some(Duration::from_secs(3600));
