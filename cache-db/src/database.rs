//! A database: which engine runs its statements.

use std::path::Path;

use cache_core::{
    Error, Result,
    config::{invalid_setting, redact},
};

#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::server::{self, Server};
#[cfg(feature = "sqlite")]
use crate::sqlite::Sqlite;
use crate::{
    dialect::Dialect,
    error::Failure,
    limits::Limits,
    options::{DbOptions, option},
    statement::{Outcome, Statement},
};

/// A database that holds the table of a [`DbCache`](crate::DbCache). It connects when it is first
/// used.
///
/// It is created from a URL, or from an sqlx pool that the application already has, of PostgreSQL
/// or MySQL. From an sqlx pool of SQLite, it is an error that names the option `url` to set
/// instead: the store opens SQLite files itself and shares them with the pool as another process
/// would.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "postgres")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use cache_core::Clock;
/// use cache_db::{Database, DbCache, DbOptions, Router};
///
/// #[derive(Debug)]
/// struct Shop;
///
/// impl Router for Shop {
///     fn db_for_write(&self, _table: &str) -> &str {
///         "shop"
///     }
/// }
///
/// let pool = sqlx::PgPool::connect_lazy("postgres://ada@localhost/shop").expect("valid URL");
/// let databases = [("shop", Database::from(pool))];
/// let options = DbOptions::default();
/// let store = DbCache::with_router("cache", databases, Shop, options, Clock::default())?;
/// # Ok(()) }
/// # #[cfg(not(feature = "postgres"))] fn main() {}
/// ```
#[derive(Debug)]
pub struct Database(Result<Engine>);

/// What runs statements. Both engines give keys, values, times and errors the same meaning.
#[derive(Debug)]
pub(crate) enum Engine {
    /// A file or memory, on the threads of this process.
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
    /// A server.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    Server(Server),
}

/// What statements do to the database, which decides whether they can be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// They change nothing.
    Read,
    /// Running them twice has the same effect and result as running them once.
    Idempotent,
    /// Running them twice differs from running them once.
    NotIdempotent,
}

impl Database {
    /// Creates a database from a URL as described at [`DbOptions::url`]. Relative paths are
    /// resolved against `folder`, or against the working directory of the process.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if the URL is invalid or names
    /// a database that this build does not support.
    pub fn from_url(url: &str, options: &DbOptions, folder: Option<&Path>) -> Result<Self> {
        Self::from_setting(&option("url"), url, options, folder)
    }

    /// Creates a database from a URL, which errors call the value of `setting`.
    pub(crate) fn from_setting(
        setting: &str,
        url: &str,
        options: &DbOptions,
        folder: Option<&Path>,
    ) -> Result<Self> {
        let limits = Limits::from(options);
        let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        let engine = match scheme.as_deref() {
            Some("sqlite") => sqlite(setting, url, limits, folder),
            Some("postgres" | "postgresql") => postgres(setting, url, limits),
            Some("mysql" | "mariadb") => mysql(setting, url, limits),
            _ => Err(invalid_url(setting, url)),
        };
        engine.map(|engine| Self(Ok(engine)))
    }

    /// The engine, or why the store cannot use the pool that the application passed in.
    pub(crate) fn into_engine(self) -> Result<Engine> {
        self.0
    }
}

/// Runs an expression on the engine.
macro_rules! on_engine {
    ($engine:expr, $inner:ident => $body:expr) => {
        match *$engine {
            #[cfg(feature = "sqlite")]
            Engine::Sqlite(ref $inner) => $body,
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            Engine::Server(ref $inner) => $body,
        }
    };
}

impl Engine {
    pub(crate) fn dialect(&self) -> &'static Dialect {
        on_engine!(self, engine => engine.dialect())
    }

    /// The location, without secrets.
    pub(crate) fn location(&self) -> &str {
        on_engine!(self, engine => engine.location())
    }

    /// Whether the data is lost when the connection is closed.
    pub(crate) fn is_in_memory(&self) -> bool {
        match *self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(ref sqlite) => sqlite.is_in_memory(),
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            Self::Server(_) => false,
        }
    }

    /// The file of the database, if it has one that this process opens.
    #[cfg(all(unix, feature = "sqlite"))]
    pub(crate) fn path(&self) -> Option<&Path> {
        match *self {
            Self::Sqlite(ref sqlite) => sqlite.path(),
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            Self::Server(_) => None,
        }
    }

    /// Applies the options to a pool that the application passed in.
    pub(crate) fn apply(&mut self, options: &DbOptions) {
        #[cfg(any(feature = "postgres", feature = "mysql"))]
        #[allow(irrefutable_let_patterns, reason = "true without the feature `sqlite`")]
        if let Self::Server(server) = self {
            server.apply(options);
        }
    }

    /// Runs the statements in order, several in one transaction, and returns their outcomes.
    ///
    /// Retries if it is certain that nothing was changed, and after a lost connection if the
    /// statements are idempotent: several times after a lock, once on a new connection. All
    /// attempts together take at most `connect_timeout` plus `statement_timeout`.
    pub(crate) async fn run(
        &self,
        statements: &[Statement<'_>],
        effect: Effect,
    ) -> Result<Vec<Outcome>, Failure> {
        on_engine!(self, engine => engine.run(statements, effect).await)
    }

    /// Like [`run`](Self::run), but returns `None` instead of waiting. Nothing was changed then.
    pub(crate) fn run_now(
        &self,
        statements: &[Statement<'_>],
        effect: Effect,
    ) -> Option<Result<Vec<Outcome>, Failure>> {
        match *self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(ref sqlite) => sqlite.run_now(statements, effect),
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            Self::Server(_) => None,
        }
    }

    /// Closes the connections; the next use opens new ones. Does nothing if the application passed
    /// the pool in, or if the data would be lost.
    pub(crate) async fn close(&self) {
        on_engine!(self, engine => engine.close().await);
    }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
impl<D: sqlx::Database> From<sqlx::Pool<D>> for Database {
    fn from(pool: sqlx::Pool<D>) -> Self {
        Self(server::from_pool(pool).map(Engine::Server))
    }
}

fn invalid_url(setting: &str, url: &str) -> Error {
    let found = if url.is_empty() { "none".into() } else { format!("{:?}", redact(url)) };
    let expected = "the URL of a database: \"sqlite:cache.db\", \
                    \"postgres://user:password@host/database\" or \
                    \"mysql://user:password@host/database\"";
    invalid_setting(setting, &found, expected)
}

#[cfg(not(all(feature = "sqlite", feature = "postgres", feature = "mysql")))]
fn not_in_this_build(setting: &str, url: &str, feature: &str) -> Error {
    let expected =
        format!("a database of this build (enable the feature \"db-{feature}\" of cachette)");
    invalid_setting(setting, &format!("{:?}", redact(url)), &expected)
}

#[cfg(feature = "sqlite")]
fn sqlite(setting: &str, url: &str, limits: Limits, folder: Option<&Path>) -> Result<Engine> {
    let path = &url["sqlite:".len()..];
    let path = path.strip_prefix("//").unwrap_or(path);
    match path {
        "" => Err(invalid_url(setting, url)),
        ":memory:" => Ok(Engine::Sqlite(Sqlite::in_memory(limits))),
        path => {
            let path = folder.map_or_else(|| path.into(), |folder| folder.join(path));
            Ok(Engine::Sqlite(Sqlite::file(path, limits)))
        }
    }
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(setting: &str, url: &str, _: Limits, _: Option<&Path>) -> Result<Engine> {
    Err(not_in_this_build(setting, url, "sqlite"))
}

#[cfg(feature = "postgres")]
fn postgres(setting: &str, url: &str, limits: Limits) -> Result<Engine> {
    server::postgres(setting, url, limits).map(Engine::Server)
}

#[cfg(not(feature = "postgres"))]
fn postgres(setting: &str, url: &str, _: Limits) -> Result<Engine> {
    Err(not_in_this_build(setting, url, "postgres"))
}

#[cfg(feature = "mysql")]
fn mysql(setting: &str, url: &str, limits: Limits) -> Result<Engine> {
    server::mysql(setting, url, limits).map(Engine::Server)
}

#[cfg(not(feature = "mysql"))]
fn mysql(setting: &str, url: &str, _: Limits) -> Result<Engine> {
    Err(not_in_this_build(setting, url, "mysql"))
}
