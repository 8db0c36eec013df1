//! PostgreSQL.

use std::fmt::Write as _;

use super::Entry;
use crate::{error::Fault, statement::Arg};

/// Keys and entries go as arrays, which have no limit that is worth reckoning with.
pub(super) const CHUNK: usize = 10_000;

/// Longer names are cut by the server, and then two tables would be one.
const LONGEST_NAME: usize = 63;

pub(super) const SET_MANY: &str = "INSERT INTO {t} (cache_key, value, number, expires) \
    SELECT entry.cache_key, entry.value, entry.number, ?::bigint \
    FROM UNNEST(?::bytea[], ?::bytea[], ?::bigint[]) AS entry (cache_key, value, number) \
    ON CONFLICT (cache_key) DO UPDATE \
    SET value = excluded.value, number = excluded.number, expires = excluded.expires";

pub(super) const CLEAR: &str =
    "DELETE FROM {t} WHERE ctid = ANY (ARRAY (SELECT ctid FROM {t} LIMIT ?))";

/// The arguments of [`SET_MANY`].
pub(super) fn columns<'a>(entries: &[Entry<'a>], expires: i64) -> Vec<Arg<'a>> {
    vec![
        Arg::int(expires),
        Arg::AllBytes(entries.iter().map(|entry| Some(entry.key.as_bytes())).collect()),
        Arg::AllBytes(entries.iter().map(|entry| entry.value).collect()),
        Arg::AllInts(entries.iter().map(|entry| entry.number).collect()),
    ]
}

/// `?` as `$1`, `$2`…
pub(super) fn numbered(template: &str) -> String {
    let mut numbered = String::with_capacity(template.len() + 8);
    for (number, part) in template.split('?').enumerate() {
        if number > 0 {
            write!(numbered, "${number}").expect("a string takes it");
        }
        numbered.push_str(part);
    }
    numbered
}

/// By the [SQLSTATE](https://www.postgresql.org/docs/current/errcodes-appendix.html).
pub(super) fn fault(code: &str, message: &str) -> Fault {
    match code {
        // Serialization failure, deadlock, lock not available, a row of the catalogue that another wrote.
        "40001" | "40P01" | "55P03" => Fault::Busy,
        "42P01" => Fault::NoTable,
        "42703" => Fault::NotOurs,
        "54000" => Fault::TooLarge,
        // Shut down, crashed, starting up; too many connections; the statement timed out.
        "57P01" | "57P02" | "57P03" | "53300" | "57014" => Fault::Away,
        // A prepared statement that is not there, or another's: they belong to connections, which a pooler shares out.
        "26000" | "42P05" => Fault::Pooler,
        "08P01" if message.contains("unsupported startup parameter") => Fault::Pooler,
        code if code.starts_with("08") => Fault::Away,
        _ => Fault::Other,
    }
}

pub(super) fn refuses_name(name: &str) -> Option<&'static str> {
    (name.len() > LONGEST_NAME)
        .then_some("a name of at most 63 bytes, as PostgreSQL cuts longer ones")
}

/// Where the table's name leaves no room, so much of it as fits, and a number made of all of it.
pub(super) fn index(table: &str) -> String {
    const SUFFIX: &str = "_expires";
    if table.len() + SUFFIX.len() <= LONGEST_NAME {
        return format!("{table}{SUFFIX}");
    }
    let digest = table.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let room = LONGEST_NAME - SUFFIX.len() - 17;
    let end = (0..=room).rev().find(|&end| table.is_char_boundary(end)).unwrap_or(0);
    format!("{}_{digest:016x}{SUFFIX}", &table[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_long_name_fits_and_is_its_own() {
        let (one, other) = ("ž".repeat(31), format!("{}a", "ž".repeat(31)));
        for name in [&one, &other] {
            assert!(
                name.len() <= LONGEST_NAME && index(name).len() <= LONGEST_NAME,
                "{}",
                index(name)
            );
        }
        assert_ne!(index(&one), index(&other));
        assert_eq!(index("t"), "t_expires");
    }
}
