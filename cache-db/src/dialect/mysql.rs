//! MySQL and MariaDB.

use crate::error::Fault;

/// Of four arguments each, so below the 65,535 that MySQL takes.
pub(super) const CHUNK: usize = 1024;

pub(super) const OVERWRITE: &str = "ON DUPLICATE KEY UPDATE value = VALUES(value), number = VALUES(number), expires = VALUES(expires)";

/// There is no RETURNING: the sum comes back as the last id, which has no sign until it is cast.
pub(super) const INCR: &str = "UPDATE {t} SET number = CAST(LAST_INSERT_ID(number + ?) AS SIGNED) \
    WHERE cache_key = ? AND expires > ? AND number BETWEEN ? AND ?";

pub(super) const CLEAR: &str = "DELETE FROM {t} ORDER BY cache_key LIMIT ?";

/// By the [number](https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html).
pub(super) fn fault(code: &str) -> Fault {
    match code {
        // Lock wait timeout, deadlock; MariaDB's record that changed since it was read.
        "1205" | "1213" | "1020" => Fault::Busy,
        "1146" => Fault::NoTable,
        "1061" => Fault::IndexThere,
        "1054" => Fault::NotOurs,
        // A packet, or a result, larger than max_allowed_packet.
        "1153" | "1301" => Fault::TooLarge,
        // Too many connections, shutting down, connection killed, timed out.
        "1040" | "1053" | "1152" | "1158" | "1159" | "1160" | "1161" | "1203" | "1927" | "3024"
        | "1969" => Fault::Away,
        _ => Fault::Other,
    }
}

pub(super) fn refuses_name(name: &str) -> Option<&'static str> {
    if name.chars().count() > 64 {
        return Some("a name of at most 64 characters, as MySQL takes no longer ones");
    }
    if name.ends_with(' ') {
        return Some("a name without a blank at its end, as MySQL takes none");
    }
    let beyond = name.chars().any(|character| u32::from(character) > 0xffff);
    beyond.then_some("a name of characters up to U+FFFF, as MySQL takes no others")
}
