//! SQL as a user would write it, for the store's table.

use cachette_benches::Job;

/// The statements for a table. Arguments are `?`, or `$1`, `$2`… on PostgreSQL.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) get: String,
    pub(crate) set: String,
    pub(crate) get_many: String,
    pub(crate) set_many: String,
}

const COLUMNS: &str = "(cache_key, value, number, expires)";

const ON_CONFLICT: &str = "ON CONFLICT (cache_key) DO UPDATE \
    SET value = excluded.value, number = excluded.number, expires = excluded.expires";

impl Sql {
    pub(crate) fn sqlite(table: &str) -> Self {
        Self::with_question_marks(table, ON_CONFLICT)
    }

    pub(crate) fn mariadb(table: &str) -> Self {
        let overwrite = "ON DUPLICATE KEY UPDATE \
            value = VALUES(value), number = VALUES(number), expires = VALUES(expires)";
        Self::with_question_marks(table, overwrite)
    }

    fn with_question_marks(table: &str, overwrite: &str) -> Self {
        let keys = vec!["?"; Job::BATCH].join(", ");
        let rows = vec!["(?, ?, NULL, ?)"; Job::BATCH].join(", ");
        Self {
            get: format!("SELECT value, number FROM {table} WHERE cache_key = ? AND expires > ?"),
            set: format!("INSERT INTO {table} {COLUMNS} VALUES (?, ?, NULL, ?) {overwrite}"),
            get_many: format!(
                "SELECT cache_key, value, number FROM {table} \
                 WHERE cache_key IN ({keys}) AND expires > ?"
            ),
            set_many: format!("INSERT INTO {table} {COLUMNS} VALUES {rows} {overwrite}"),
        }
    }

    pub(crate) fn postgres(table: &str) -> Self {
        Self {
            get: format!("SELECT value, number FROM {table} WHERE cache_key = $1 AND expires > $2"),
            set: format!("INSERT INTO {table} {COLUMNS} VALUES ($1, $2, NULL, $3) {ON_CONFLICT}"),
            get_many: format!(
                "SELECT cache_key, value, number FROM {table} \
                 WHERE cache_key = ANY($1) AND expires > $2"
            ),
            set_many: format!(
                "INSERT INTO {table} {COLUMNS} \
                 SELECT entry.cache_key, entry.value, NULL, $3 \
                 FROM UNNEST($1::bytea[], $2::bytea[]) AS entry (cache_key, value) {ON_CONFLICT}"
            ),
        }
    }
}
