//! What operators should know about the databases and the table.

use std::time::Duration;

use cache_core::{Error, ErrorKind, Finding, shown_size};

use crate::{
    schema::{self, TableState},
    shared::Shared,
    statement::Row,
    table::Table,
};

/// Examines the table in every database.
pub(crate) async fn run(shared: &Shared) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, table) in &shared.tables {
        match definition(shared, name, table).await {
            Ok(outdated) => {
                findings.extend(outdated);
                findings.extend(facts(shared, table).await);
            }
            Err(finding) => findings.push(finding),
        }
        findings.extend(file(table));
    }
    findings
}

/// Returns the finding if the table is outdated.
///
/// The error is the finding if there is no table to examine: it is missing, not a cache table, or
/// its database cannot be reached.
async fn definition(
    shared: &Shared,
    database: &str,
    table: &Table,
) -> Result<Option<Finding>, Finding> {
    if !shared.router.allow_migrate(database, &shared.table_name) {
        return Ok(None);
    }
    let inspected = schema::create(table, shared.options.unlogged, true).await;
    let (place, command) = (place(table), &shared.create_command);
    match inspected.map(|creation| creation.state) {
        Ok(TableState::Current) => Ok(None),
        Ok(TableState::Outdated) => {
            let message = format!("{place} has an older schema, or no index on `expires`");
            let remedy = format!("run `{command}`, which keeps the entries");
            Ok(Some(Finding::warning("table", message).with_remedy(remedy)))
        }
        Ok(TableState::Missing) if shared.options.create_table || table.database.is_in_memory() => {
            Err(Finding::info("table", format!("{place} is missing: the first use creates it")))
        }
        Ok(TableState::Missing) => {
            let remedy = format!("run `{command}`, or set the option create_table = true");
            Err(Finding::error("table", format!("{place} is missing")).with_remedy(remedy))
        }
        Err(error) if error.kind() == ErrorKind::Unavailable => Err(unreachable(&error)),
        Err(error) => {
            let remedy = "choose another LOCATION, or another database";
            Err(Finding::error("table", error.to_string()).with_remedy(remedy))
        }
    }
}

fn unreachable(error: &Error) -> Finding {
    Finding::error("unreachable", error.to_string())
        .with_remedy("check that the server is running, and that the URL is right")
}

fn place(table: &Table) -> String {
    format!("{}: table {:?}", table.database.location(), table.statements.table)
}

/// The findings of [`Schema::facts`](crate::dialect::Schema::facts).
async fn facts(shared: &Shared, table: &Table) -> Vec<Finding> {
    let asked = shared.clock.unix_time();
    let rows = match schema::facts(table).await {
        Ok(rows) => rows,
        Err(failure) => {
            let error = shared.error_from(table, failure);
            return vec![match error.kind() {
                ErrorKind::Unavailable => unreachable(&error),
                _ => Finding::info("not-examined", error.to_string()),
            }];
        }
    };
    let times = (asked, shared.clock.unix_time());
    let found = Examined {
        server: table.statements.dialect.name,
        location: table.database.location(),
        place: place(table),
        times,
        unlogged: shared.options.unlogged,
        is_read_elsewhere: shared.tables.len() > 1,
    };
    rows.into_iter().filter_map(|row| found.finding(row)).collect()
}

/// What a fact is judged by.
struct Examined<'a> {
    /// The name of the database system.
    server: &'static str,
    location: &'a str,
    /// The database and the table.
    place: String,
    /// The times before and after the facts were read.
    times: (Duration, Duration),
    /// The option `unlogged`.
    unlogged: bool,
    /// Whether the store has other databases, such as a replica.
    is_read_elsewhere: bool,
}

impl Examined<'_> {
    fn finding(&self, row: Row) -> Option<Finding> {
        let [name, text] = row.texts.map(Option::unwrap_or_default);
        let number = row.number.map(|number| u64::try_from(number).unwrap_or(0));
        match &*name {
            "server" => Some(self.version(&text, number)),
            "clock" => {
                let server = Duration::from_micros(number?);
                Finding::of_clock(self.location, server, Duration::ZERO, self.times)
            }
            "persistence" => self.persistence(&text),
            "engine" => self.engine(&text),
            "unique keys" => self.unique_keys(number?),
            "invalid indexes" => self.invalid_indexes(&text, number?),
            "dead rows" => self.dead_rows(text.parse().ok()?, number?),
            "connections" => self.connections(text.parse().ok()?, number?),
            _ => None,
        }
    }

    fn version(&self, version: &str, bytes: Option<u64>) -> Finding {
        let size = bytes.map_or_else(String::new, |bytes| format!(", {} used", shown_size(bytes)));
        Finding::info("server", format!("{}: {} {version}{size}", self.place, self.server))
    }

    fn persistence(&self, persistence: &str) -> Option<Finding> {
        let place = &self.place;
        match (persistence, self.unlogged) {
            ("u", _) if self.is_read_elsewhere => {
                let message = format!("{place} is UNLOGGED: replicas do not have its entries");
                let remedy = "run ALTER TABLE … SET LOGGED, and remove the option unlogged";
                Some(Finding::error("unlogged", message).with_remedy(remedy))
            }
            ("u", _) => {
                let message = format!("{place} is UNLOGGED: it is empty after a crash");
                Some(Finding::info("unlogged", message))
            }
            ("p", true) => {
                let message = format!("{place} is not UNLOGGED, although OPTIONS.unlogged is set");
                let remedy = "run ALTER TABLE … SET UNLOGGED, or remove the option: it applies to \
                              tables that are created";
                Some(Finding::warning("logged", message).with_remedy(remedy))
            }
            _ => None,
        }
    }

    fn engine(&self, engine: &str) -> Option<Finding> {
        if engine.eq_ignore_ascii_case("InnoDB") {
            return None;
        }
        let message = format!(
            "{} has the engine {engine}: its writes are not atomic, or lock the whole table",
            self.place
        );
        let remedy = "run ALTER TABLE … ENGINE = InnoDB";
        Some(Finding::error("engine", message).with_remedy(remedy))
    }

    /// Without it, `set` inserts a second row under a key.
    fn unique_keys(&self, indexes: u64) -> Option<Finding> {
        (indexes == 0).then(|| {
            let message = format!("{} has no primary key on `cache_key`", self.place);
            Finding::error("index", message)
                .with_remedy("drop the table and create it again with `cachette createcachetable`")
        })
    }

    fn invalid_indexes(&self, names: &str, count: u64) -> Option<Finding> {
        (count > 0).then(|| {
            let message = format!("{} has invalid indexes: {names}", self.place);
            Finding::error("index", message).with_remedy("run REINDEX TABLE on it")
        })
    }

    /// Every overwritten entry leaves a dead row. Autovacuum starts at a fifth of the table.
    fn dead_rows(&self, live: u64, dead: u64) -> Option<Finding> {
        const FEW: u64 = 10_000;
        (dead > FEW && dead > live).then(|| {
            let message = format!("{} has {dead} dead rows and {live} live ones", self.place);
            Finding::warning("dead-rows", message).with_remedy(
                "run VACUUM on it, and let autovacuum work more often on this table \
                 (autovacuum_vacuum_scale_factor)",
            )
        })
    }

    fn connections(&self, limit: u64, connections: u64) -> Option<Finding> {
        (connections >= limit / 10 * 9).then(|| {
            let message =
                format!("{}: {connections} of {limit} connections are open", self.location);
            let remedy = "set a lower pool_size, or raise max_connections on the server";
            Finding::warning("connections", message).with_remedy(remedy)
        })
    }
}

/// The findings about the file of a database and its disk.
#[cfg(all(unix, feature = "sqlite"))]
fn file(table: &Table) -> Vec<Finding> {
    let Some(path) = table.database.path() else { return Vec::new() };
    let place = path.display().to_string();
    let existing = path.ancestors().find(|path| path.exists());
    let system = existing.and_then(|path| rustix::fs::statvfs(path).ok());
    // Some file systems, such as a tmpfs without a limit, have no size.
    let disk = system.filter(|system| system.f_blocks > 0).map(|system| {
        let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
        Finding::of_disk(&place, bytes(system.f_bavail), bytes(system.f_blocks))
    });
    permissions(path).into_iter().chain(disk).collect()
}

#[cfg(not(all(unix, feature = "sqlite")))]
fn file(_: &Table) -> Vec<Finding> {
    Vec::new()
}

#[cfg(all(unix, feature = "sqlite"))]
fn permissions(path: &std::path::Path) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & 0o002 != 0).then(|| {
        let path = path.display();
        let message = format!("{path}: mode {mode:04o}: every user can change its entries");
        Finding::warning("permissions", message).with_remedy(format!("run `chmod o-w {path}`"))
    })
}
