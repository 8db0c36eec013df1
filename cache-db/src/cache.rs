//! The store: statements on a table, as an implementation of [`Cache`].

mod many;

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

use cache_core::{
    Cache, Clock, Error, ErrorKind, Result, Stats, Ttl, Value, async_trait, config, set_one_by_one,
};

use crate::{
    Creation, Database, DbOptions, Router,
    database::Effect,
    dialect::{Entry, NEVER, Statements},
    error::Fault,
    expiry::{self, Sweeper},
    options::option,
    router::{Fixed, PRIMARY, REPLICA},
    schema,
    statement::{Outcome, Row, Statement},
};

/// Longer keys are refused. Django's limit of 250 characters is 1,000 bytes at most.
pub const MAX_KEY_BYTES: usize = 1024;

/// A store in a table of a database. See the [crate's page](crate) for what it does.
///
/// It connects when it is first used, in the tokio runtime that then runs, and belongs to that runtime until
/// [`close`](Cache::close).
#[derive(Clone)]
pub struct DbCache {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) table: String,
    pub(crate) options: DbOptions,
    pub(crate) sweeper: Sweeper,
    nodes: BTreeMap<String, Node>,
    router: Arc<dyn Router>,
    clock: Clock,
    /// What makes a missing table.
    remedy: String,
}

pub(crate) const CREATE_TABLE: &str = "DbCache::create_table";

/// A database, and the statements in its words.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) database: Database,
    pub(crate) statements: Statements,
}

impl DbCache {
    /// The store in this table of the database that the options name. Relative paths start at the working directory.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where an option or the table's name can't be meant.
    pub fn new(table: &str, options: DbOptions) -> Result<Self> {
        Self::open(table, options, None, Clock::system())
    }

    /// The same, with the folder where relative paths start, and the clock that entries expire by.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn open(
        table: &str,
        options: DbOptions,
        folder: Option<&Path>,
        clock: Clock,
    ) -> Result<Self> {
        let primary = (PRIMARY, Database::at(&options.url, &options, folder)?);
        let Some(read_url) = &options.read_url else {
            let router = Fixed { read: PRIMARY.into(), write: PRIMARY.into() };
            return Self::with_router(table, [primary], router, options, clock);
        };
        let replica = (REPLICA, Database::of(&option("read_url"), read_url, &options, folder)?);
        let router = Fixed { read: REPLICA.into(), write: PRIMARY.into() };
        Self::with_router(table, [primary, replica], router, options, clock)
    }

    /// The store in this table of several databases, for each call the one that the router says. `url` and `read_url` of
    /// the options mean nothing here.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where an option or the table's name can't be meant.
    pub fn with_router<N: Into<String>>(
        table: &str,
        databases: impl IntoIterator<Item = (N, Database)>,
        router: impl Router,
        options: DbOptions,
        clock: Clock,
    ) -> Result<Self> {
        Self::assemble(table, databases, Arc::new(router), options, clock, CREATE_TABLE.into())
    }

    pub(crate) fn assemble<N: Into<String>>(
        table: &str,
        databases: impl IntoIterator<Item = (N, Database)>,
        router: Arc<dyn Router>,
        options: DbOptions,
        clock: Clock,
        remedy: String,
    ) -> Result<Self> {
        options.check()?;
        let mut nodes = BTreeMap::new();
        for (name, mut database) in databases {
            let dialect = database.dialect();
            if let Some(expected) = dialect.refuses_name(table) {
                return Err(config::invalid_setting("LOCATION", &format!("{table:?}"), expected));
            }
            database.limit(&options);
            nodes.insert(
                name.into(),
                Node { database, statements: Statements::new(dialect, table) },
            );
        }
        let sweeper = Sweeper::new(options.max_entries);
        let inner = Inner { table: table.into(), options, sweeper, nodes, router, clock, remedy };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &DbOptions {
        &self.inner.options
    }

    /// The name of its table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.inner.table
    }

    /// Makes the table and its index in every database where the router allows it, or brings an older one up to date; or,
    /// as a `dry_run`, says what that would take. Does nothing where all is well, and may be run by many at once.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// use cache_db::{DbCache, DbOptions};
    ///
    /// let store = DbCache::new("cache", DbOptions::new("sqlite::memory:"))?;
    /// for done in store.create_table(false).await? {
    ///     assert_eq!(done.to_string(), "made the table \"cache\" in sqlite::memory:");
    /// }
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where there is a table of this name that is something else, or was made by a newer version;
    /// otherwise what the database reports.
    pub async fn create_table(&self, dry_run: bool) -> Result<Vec<Creation>> {
        let mut done = Vec::new();
        for name in self.inner.nodes.keys() {
            done.extend(self.create_table_in(name, dry_run).await?);
        }
        Ok(done)
    }

    /// The same in the database of this name alone: nothing, where the store has none or the router does not allow it. A
    /// `url` is called `default`, a `read_url` is called `replica`.
    ///
    /// # Errors
    /// As [`create_table`](Self::create_table).
    pub async fn create_table_in(&self, database: &str, dry_run: bool) -> Result<Option<Creation>> {
        match self.inner.nodes.get(database) {
            Some(node) if self.inner.router.allow_migrate(database, &self.inner.table) => {
                schema::create(node, self.inner.options.unlogged, dry_run).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The names of its databases, in alphabetical order.
    pub fn databases(&self) -> impl Iterator<Item = &str> {
        self.inner.nodes.keys().map(String::as_str)
    }

    /// How many entries there are. Takes time in proportion to their number.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn entries(&self) -> Result<u64> {
        self.inner.count(self.inner.now()).await
    }
}

impl Inner {
    /// Microseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.clock.unix_time().as_micros()).unwrap_or(NEVER - 1).min(NEVER - 1)
    }

    /// What stands in `expires` for a time to live that begins now.
    fn deadline(&self, ttl: Option<Duration>) -> i64 {
        let now = self.clock.unix_time();
        let end = ttl.and_then(|ttl| i64::try_from(now.checked_add(ttl)?.as_micros()).ok());
        end.filter(|&end| end < NEVER).unwrap_or_else(|| NEVER + self.now())
    }

    pub(crate) fn writer(&self) -> Result<&Node> {
        self.node(self.router.db_for_write(&self.table))
    }

    fn reader(&self) -> Result<&Node> {
        self.node(self.router.db_for_read(&self.table))
    }

    fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.get(name).ok_or_else(|| {
            let there: Vec<&str> = self.nodes.keys().map(String::as_str).collect();
            let found = format!("the database {name:?} from the router");
            config::invalid_setting(
                &option("url"),
                &found,
                &format!("one that there is: {}", there.join(", ")),
            )
            .in_store("db")
        })
    }

    /// Runs a plan, and where the table is missing and may be made, makes it and runs the plan again.
    async fn run(
        &self,
        node: &Node,
        plan: &[Statement<'_>],
        effect: Effect,
    ) -> Result<Vec<Outcome>> {
        let failure = match node.database.run(plan, effect).await {
            Ok(outcomes) => return Ok(outcomes),
            Err(failure) => failure,
        };
        let told = |failure: crate::error::Failure| {
            failure.told(node.database.shown(), &self.table, &self.remedy)
        };
        if failure.fault != Fault::NoTable
            || !(self.options.create_table || node.database.is_in_memory())
        {
            return Err(told(failure));
        }
        schema::create(self.writer()?, self.options.unlogged, false).await?;
        node.database.run(plan, effect).await.map_err(told)
    }

    async fn run_one(
        &self,
        node: &Node,
        statement: Statement<'_>,
        effect: Effect,
    ) -> Result<Outcome> {
        let outcomes = self.run(node, &[statement], effect).await?;
        Ok(outcomes.into_iter().next().unwrap_or_default())
    }

    /// The rows that a statement answers.
    pub(crate) async fn read_rows(
        &self,
        node: &Node,
        statement: Statement<'_>,
    ) -> Result<Vec<Row>> {
        Ok(self.run_one(node, statement, Effect::Read).await?.rows)
    }

    /// The one number that a statement answers, if it does.
    pub(crate) async fn number(
        &self,
        node: &Node,
        statement: Statement<'_>,
    ) -> Result<Option<i64>> {
        let rows = self.read_rows(node, statement).await?;
        Ok(rows.into_iter().next().and_then(|row| row.number))
    }

    /// How many rows a statement that may be run twice has changed.
    pub(crate) async fn write(&self, node: &Node, statement: Statement<'_>) -> Result<u64> {
        Ok(self.run_one(node, statement, Effect::Idempotent).await?.affected)
    }

    /// How many rows a statement has changed that must not be run twice.
    async fn write_once(&self, node: &Node, statement: Statement<'_>) -> Result<u64> {
        Ok(self.run_one(node, statement, Effect::Once).await?.affected)
    }

    pub(crate) async fn count(&self, now: i64) -> Result<u64> {
        let node = self.writer()?;
        let count = self.number(node, node.statements.count(now)).await?;
        Ok(count.map_or(0, i64::cast_unsigned))
    }

    /// `add` where one statement can't: insert, else overwrite what has expired, else see that something is there. Starts
    /// again where what was in the way at first is gone at last.
    async fn add_in_steps(&self, node: &Node, entry: Entry<'_>, expires: i64) -> Result<bool> {
        const ROUNDS: usize = 10;
        for _ in 0..ROUNDS {
            let now = self.now();
            if self.write_once(node, node.statements.add(entry, expires, now)).await? > 0
                || self.write_once(node, node.statements.revive(entry, expires, now)).await? > 0
            {
                return Ok(true);
            }
            if self.number(node, node.statements.expiry(entry.key, now)).await?.is_some() {
                return Ok(false);
            }
        }
        Err(contended(entry.key))
    }

    /// The number under a key, where there is one: why a sum could not be made. `None` in the first place where there is no
    /// entry, in the second where it is no number.
    async fn summand(&self, node: &Node, key: &str) -> Result<Option<Option<i64>>> {
        let rows = self.read_rows(node, node.statements.get(key, self.now())).await?;
        Ok(rows.into_iter().next().map(|row| row.number))
    }
}

/// A key that changes under each attempt.
fn contended(key: &str) -> Error {
    Error::new(ErrorKind::Backend, format!("the key {key:?} is changed by too many at once"))
        .temporary(true)
}

fn check_key(key: &str) -> Result<()> {
    if key.len() <= MAX_KEY_BYTES {
        return Ok(());
    }
    let message = format!("the key has {} bytes, and a database takes {MAX_KEY_BYTES}", key.len());
    Err(Error::new(ErrorKind::InvalidKey, message).in_store("db"))
}

/// The row for an entry.
fn entry<'a>(key: &'a str, value: &'a Value) -> Result<Entry<'a>> {
    check_key(key)?;
    match value {
        Value::Int(number) => Ok(Entry { key, value: None, number: Some(*number) }),
        Value::Bytes(bytes) => Ok(Entry { key, value: Some(bytes), number: None }),
        _ => Err(Error::new(ErrorKind::Encode, "a database keeps integers and bytes only")
            .in_store("db")),
    }
}

/// The value in a row. One that is neither a number nor bytes was not written by this crate, and is none.
fn value(row: Row) -> Option<Value> {
    let value =
        row.number.map(Value::Int).or_else(|| row.value.map(|bytes| Value::Bytes(bytes.into())));
    if value.is_none() {
        tracing::warn!("a row of the cache's table has no value");
    }
    value
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for DbCache {
    fn name(&self) -> &str {
        "db"
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        check_key(key)?;
        let node = self.inner.reader()?;
        let rows = self.inner.read_rows(node, node.statements.get(key, self.inner.now())).await?;
        Ok(rows.into_iter().next().and_then(value))
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let (entry, node) = (entry(key, &value)?, self.inner.writer()?);
        let set =
            self.inner.write(node, node.statements.set(entry, self.inner.deadline(ttl))).await;
        if let Err(error) = set {
            if error.kind() == ErrorKind::TooLarge {
                self.inner.write(node, node.statements.delete(key, i64::MIN)).await?;
            }
            return Err(error);
        }
        expiry::wrote(&self.inner, 1);
        Ok(())
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let (entry, node) = (entry(key, &value)?, self.inner.writer()?);
        let expires = self.inner.deadline(ttl);
        let added = if node.statements.adds_at_once() {
            let add = node.statements.add(entry, expires, self.inner.now());
            self.inner.write_once(node, add).await? > 0
        } else {
            self.inner.add_in_steps(node, entry, expires).await?
        };
        if added {
            expiry::wrote(&self.inner, 1);
        }
        Ok(added)
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        check_key(key)?;
        let node = self.inner.writer()?;
        let touch = node.statements.touch(key, self.inner.deadline(ttl), self.inner.now());
        Ok(self.inner.write(node, touch).await? > 0)
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        const ROUNDS: usize = 10;
        check_key(key)?;
        let node = self.inner.writer()?;
        for _ in 0..ROUNDS {
            let outcome = self
                .inner
                .run_one(node, node.statements.incr(key, delta, self.inner.now()), Effect::Once)
                .await?;
            if let Some(sum) = node.statements.sum(&outcome) {
                return Ok(Some(sum));
            }
            // Nothing was changed. Either this tells why, or it is otherwise by now, and worth another attempt.
            match self.inner.summand(node, key).await? {
                None => return Ok(None),
                Some(None) => return Err(Error::not_an_integer(key).in_store("db")),
                Some(Some(number)) if number.checked_add(delta).is_none() => {
                    return Err(Error::overflow(key, number, delta).in_store("db"));
                }
                Some(Some(_)) => {}
            }
        }
        Err(contended(key).in_store("db"))
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        check_key(key)?;
        let node = self.inner.writer()?;
        Ok(self.inner.write_once(node, node.statements.delete(key, self.inner.now())).await? > 0)
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        check_key(key)?;
        let (node, now) = (self.inner.reader()?, self.inner.now());
        let expires = self.inner.number(node, node.statements.expiry(key, now)).await?;
        Ok(expires.map(|expires| match expires {
            NEVER.. => Ttl::Never,
            _ => Ttl::Left(Duration::from_micros((expires - now).cast_unsigned())),
        }))
    }

    async fn clear(&self) -> Result<()> {
        let node = self.inner.writer()?;
        self.inner.number(node, node.statements.is_ours()).await?;
        loop {
            let (clear, most) = node.statements.clear();
            let removed = self.inner.write(node, clear).await?;
            if most.is_none_or(|most| removed < most) {
                return Ok(());
            }
        }
    }

    fn get_now(&self, _: &str) -> Option<Result<Option<Value>>> {
        None
    }

    fn set_now(&self, _: &str, value: Value, _: Option<Duration>) -> Result<Result<()>, Value> {
        Err(value)
    }

    fn keeps_objects(&self) -> bool {
        false
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        check_key(key)?;
        let node = self.inner.reader()?;
        Ok(self.inner.number(node, node.statements.expiry(key, self.inner.now())).await?.is_some())
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        self.inner.get_many(keys).await
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let refused = self.inner.set_many(entries, ttl).await;
        expiry::wrote(&self.inner, entries.len() as u64);
        match refused {
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                set_one_by_one(self, entries, ttl).await
            }
            refused => refused,
        }
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        self.inner.delete_many(keys).await
    }

    /// Looks at every row.
    async fn stats(&self) -> Result<Stats> {
        let (node, now) = (self.inner.writer()?, self.inner.now());
        let statements = &node.statements;
        let plan = [statements.count(i64::MIN), statements.count(now), statements.bytes()];
        let outcomes = self.inner.run(node, &plan, Effect::Read).await?;
        let mut numbers =
            outcomes.iter().map(|outcome| outcome.rows.first().and_then(|row| row.number));
        let mut next = || numbers.next().flatten().map_or(0, i64::cast_unsigned);
        let (entries, live, bytes) = (next(), next(), next());
        Ok(Stats {
            entries: Some(entries),
            expired: Some(entries.saturating_sub(live)),
            bytes: Some(bytes),
            ..Stats::default()
        })
    }

    /// In batches: what was removed before an error is gone.
    async fn purge_expired(&self, most: u64) -> Result<Option<u64>> {
        let node = self.inner.writer()?;
        self.inner.number(node, node.statements.is_ours()).await?;
        expiry::remove_expired(&self.inner, most).await.map(Some)
    }

    /// Waits for what is done in the background, and closes the connections that were not handed over.
    async fn close(&self) -> Result<()> {
        self.inner.sweeper.settle().await;
        for node in self.inner.nodes.values() {
            node.database.close().await;
        }
        Ok(())
    }
}

impl fmt::Debug for DbCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbCache")
            .field("table", &self.inner.table)
            .field("options", &self.inner.options)
            .field("router", &self.inner.router)
            .finish_non_exhaustive()
    }
}
