//! Tables of the errors that a server reports.

use crate::fault::Fault;

/// An error code, and what it means for the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorCode {
    code: &'static str,
    /// Which messages with this code are meant: those that contain the text.
    text: &'static str,
    fault: Fault,
}

/// An error code that has one meaning.
pub(super) const fn code(code: &'static str, fault: Fault) -> ErrorCode {
    ErrorCode { code, text: "", fault }
}

/// An error code that has this meaning if its message contains `text`.
pub(super) const fn code_with(code: &'static str, text: &'static str, fault: Fault) -> ErrorCode {
    ErrorCode { code, text, fault }
}

/// Returns the meaning of an error, by the first row that matches.
pub(super) fn look_up(table: &[ErrorCode], code: &str, message: &str) -> Option<Fault> {
    let row = table.iter().find(|row| row.code == code && message.contains(row.text));
    row.map(|row| row.fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_one_row_per_text() {
        for table in [super::super::mysql::ERRORS, super::super::postgres::ERRORS] {
            let mut rows: Vec<_> = table.iter().map(|row| (row.code, row.text)).collect();
            rows.sort_unstable();
            assert!(rows.windows(2).all(|pair| pair[0] != pair[1]), "{rows:?}");
        }
    }

    #[test]
    fn text_of_a_message_can_decide_the_meaning() {
        let table = [code_with("1", "disk", Fault::Full), code("1", Fault::Busy)];
        assert_eq!(look_up(&table, "1", "the disk is full"), Some(Fault::Full));
        assert_eq!(look_up(&table, "1", "locked"), Some(Fault::Busy));
        assert_eq!(look_up(&table, "2", "locked"), None);
    }
}
