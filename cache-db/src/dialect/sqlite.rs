//! SQLite.

use crate::error::Fault;

/// Of four arguments each, so below the 32,766 that SQLite takes.
pub(super) const CHUNK: usize = 1024;

/// By the [result code](https://www.sqlite.org/rescode.html), whose low byte is the primary one.
pub(super) fn fault(code: &str, message: &str) -> Fault {
    const ERROR: i32 = 1;
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const CANTOPEN: i32 = 14;
    const TOOBIG: i32 = 18;
    match code.parse::<i32>().map(|code| code & 0xff) {
        Ok(BUSY | LOCKED) => Fault::Busy,
        Ok(CANTOPEN) => Fault::Away,
        Ok(TOOBIG) => Fault::TooLarge,
        Ok(ERROR) if message.starts_with("no such table: ") => Fault::NoTable,
        Ok(ERROR)
            if message.starts_with("no such column: ")
                || message.contains(" has no column named ") =>
        {
            Fault::NotOurs
        }
        _ => Fault::Other,
    }
}

pub(super) fn refuses_name(name: &str) -> Option<&'static str> {
    let reserved = name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"));
    reserved.then_some(
        "a name that SQLite does not keep for itself, as all that begin with \"sqlite_\"",
    )
}
