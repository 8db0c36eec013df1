//! Where a database is, read from its URL, and how to connect there.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use cache_core::{
    Result,
    config::{invalid_setting, redact},
};

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use super::pool::{Plan, Supply};
use super::{Limits, pool::Pool};
use crate::dialect::Dialect;

/// Where to connect to.
#[derive(Debug)]
pub(crate) struct Target {
    dialect: Dialect,
    shown: String,
    is_in_memory: bool,
    /// As many bytes are taken at once, where that is known; else 0.
    largest: Arc<AtomicUsize>,
    how: How,
}

enum How {
    /// A pool was handed over.
    Given,
    #[cfg(feature = "sqlite")]
    Sqlite(Box<sqlx::sqlite::SqliteConnectOptions>),
    #[cfg(feature = "postgres")]
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
    #[cfg(feature = "mysql")]
    Mysql(Box<sqlx::mysql::MySqlConnectOptions>),
}

/// The options of a connection hold its password.
impl std::fmt::Debug for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Given) { "Given" } else { "Url" })
    }
}

impl Target {
    /// What `url`, which stands in the setting `name`, means.
    pub(crate) fn of(name: &str, url: &str, limits: Limits, folder: Option<&Path>) -> Result<Self> {
        let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("sqlite") => sqlite(name, url, limits, folder),
            Some("postgres" | "postgresql") => postgres(name, url, limits),
            Some("mysql" | "mariadb") => mysql(name, url),
            _ => Err(no_url(name, url)),
        }
    }

    pub(crate) fn given(dialect: Dialect) -> Self {
        let shown = match dialect {
            Dialect::Sqlite => "the SQLite pool given",
            Dialect::Postgres => "the PostgreSQL pool given",
            Dialect::Mysql => "the MySQL pool given",
        };
        Self {
            dialect,
            shown: shown.into(),
            is_in_memory: false,
            largest: Arc::default(),
            how: How::Given,
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.is_in_memory
    }

    /// As many bytes it takes at once, where one of its connections has told.
    pub(crate) fn largest(&self) -> Option<usize> {
        Some(self.largest.load(Ordering::Relaxed)).filter(|largest| *largest > 0)
    }

    pub(crate) fn is_given(&self) -> bool {
        matches!(self.how, How::Given)
    }

    /// A pool that connects when it is asked to.
    pub(crate) fn pool(&self, limits: Limits) -> Pool {
        match self.how {
            How::Given => unreachable!("a pool that was handed over is never given up"),
            #[cfg(feature = "sqlite")]
            How::Sqlite(ref options) => {
                let size = if self.is_in_memory { 1 } else { limits.pool_size };
                // There is no server that could have gone meanwhile, and in memory there is no second connection.
                let plan = Plan { size, precious: true, ..plan((**options).clone(), limits) };
                Pool::Sqlite(Supply::own(plan))
            }
            #[cfg(feature = "postgres")]
            How::Postgres(ref options) => {
                Pool::Postgres(Supply::own(plan((**options).clone(), limits)))
            }
            #[cfg(feature = "mysql")]
            How::Mysql(ref options) => {
                let patience =
                    i64::try_from(limits.statement_timeout.as_secs().max(1)).unwrap_or(i64::MAX);
                let largest = Arc::clone(&self.largest);
                let prepare: super::pool::Prepare<sqlx::MySql> = Box::new(move |connection| {
                    let largest = Arc::clone(&largest);
                    Box::pin(async move {
                        let wait =
                            sqlx::query("SET SESSION innodb_lock_wait_timeout = ?").bind(patience);
                        wait.execute(&mut *connection).await?;
                        let most =
                            sqlx::query_scalar("SELECT CAST(@@max_allowed_packet AS SIGNED)");
                        let most: i64 = most.fetch_one(connection).await?;
                        largest.store(usize::try_from(most).unwrap_or(0), Ordering::Relaxed);
                        Ok(())
                    })
                });
                let plan = Plan { prepare: Some(prepare), ..plan((**options).clone(), limits) };
                Pool::Mysql(Supply::own(plan))
            }
        }
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
fn plan<D: sqlx::Database>(
    options: <D::Connection as sqlx::Connection>::Options,
    limits: Limits,
) -> Plan<D> {
    Plan {
        options,
        prepare: None,
        size: limits.pool_size,
        patience: limits.connect_timeout / 4,
        precious: false,
    }
}

fn no_url(name: &str, url: &str) -> cache_core::Error {
    let found = if url.is_empty() { "none".into() } else { format!("{:?}", redact(url)) };
    let expected = "the URL of a database: \"sqlite:cache.db\", \"postgres://user:password@host/database\" or \
                    \"mysql://user:password@host/database\"";
    invalid_setting(name, &found, expected)
}

/// The driver says what it stumbled over: a port, a parameter, an escape.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn unfit(name: &str, url: &str, error: &sqlx::Error) -> cache_core::Error {
    let expected = format!("the URL of a database as the driver reads it, which says: {error}");
    invalid_setting(name, &format!("{:?}", redact(url)), &expected)
}

#[cfg(not(all(feature = "sqlite", feature = "postgres", feature = "mysql")))]
fn lacking(name: &str, url: &str, feature: &str) -> cache_core::Error {
    let expected =
        format!("a database of this build; enable the feature \"db-{feature}\" of cachette for it");
    invalid_setting(name, &format!("{:?}", redact(url)), &expected)
}

/// Refuses a URL that demands TLS where this build has none.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn check_tls(name: &str, url: &str, demanded: bool, there: bool) -> Result<()> {
    if there || !demanded {
        return Ok(());
    }
    let found = format!("{:?}, which demands TLS,", redact(url));
    Err(invalid_setting(
        name,
        &found,
        "a build that has it; enable the feature \"db-tls\" of cachette for it",
    ))
}

/// The driver looks for certificates when it connects, and then does not say which file is missing.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn check_files(name: &str, url: &str, parameters: &[&str]) -> Result<()> {
    let (_, query) = url.split_once('?').unwrap_or_default();
    for (parameter, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let file = value.replace('+', " ");
        let file = percent_encoding::percent_decode_str(&file).decode_utf8_lossy();
        // The certificate itself may be there as well.
        if parameters.contains(&parameter) && !file.starts_with("-----BEGIN") {
            let told = |error| {
                invalid_setting(name, &format!("{parameter}={file}: {error}"), "a file in PEM")
            };
            std::fs::File::open(&*file).map_err(told)?;
        }
    }
    Ok(())
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(name: &str, url: &str, _: Limits, _: Option<&Path>) -> Result<Target> {
    Err(lacking(name, url, "sqlite"))
}

#[cfg(not(feature = "postgres"))]
fn postgres(name: &str, url: &str, _: Limits) -> Result<Target> {
    Err(lacking(name, url, "postgres"))
}

#[cfg(not(feature = "mysql"))]
fn mysql(name: &str, url: &str) -> Result<Target> {
    Err(lacking(name, url, "mysql"))
}

#[cfg(feature = "sqlite")]
fn sqlite(name: &str, url: &str, limits: Limits, folder: Option<&Path>) -> Result<Target> {
    use sqlx::{
        ConnectOptions as _,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    };
    let path = &url["sqlite:".len()..];
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err(no_url(name, url));
    }
    let options =
        SqliteConnectOptions::new().busy_timeout(limits.busy_timeout).disable_statement_logging();
    let (options, shown, is_in_memory) = if path == ":memory:" {
        (options.filename(path), "sqlite::memory:".into(), true)
    } else {
        let path = folder.map_or_else(|| path.into(), |folder| folder.join(path));
        let shown = format!("sqlite:{}", path.display());
        let options = options
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        (options, shown, false)
    };
    Ok(Target {
        dialect: Dialect::Sqlite,
        shown,
        is_in_memory,
        largest: Arc::default(),
        how: How::Sqlite(Box::new(options)),
    })
}

#[cfg(feature = "postgres")]
fn postgres(name: &str, url: &str, limits: Limits) -> Result<Target> {
    use sqlx::{
        ConnectOptions as _,
        postgres::{PgConnectOptions, PgSslMode},
    };
    let options: PgConnectOptions = url.parse().map_err(|error| unfit(name, url, &error))?;
    let demanded = matches!(
        options.get_ssl_mode(),
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull
    );
    check_tls(name, url, demanded, cfg!(feature = "tls"))?;
    check_files(name, url, &["sslrootcert", "sslcert", "sslkey"])?;
    let options = options.disable_statement_logging();
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("cachette"),
    };
    // A statement that nobody waits for any more shall not be done later. pgbouncer refuses such settings.
    let options = if limits.pgbouncer {
        options.statement_cache_capacity(0).extra_float_digits(None)
    } else {
        options
            .options([("statement_timeout", format!("{}ms", limits.statement_timeout.as_millis()))])
    };
    let shown = shown(url);
    Ok(Target {
        dialect: Dialect::Postgres,
        shown,
        is_in_memory: false,
        largest: Arc::default(),
        how: How::Postgres(Box::new(options)),
    })
}

#[cfg(feature = "mysql")]
fn mysql(name: &str, url: &str) -> Result<Target> {
    use sqlx::{
        ConnectOptions as _,
        mysql::{MySqlConnectOptions, MySqlSslMode},
    };
    let (_, rest) = url.split_once(':').ok_or_else(|| no_url(name, url))?;
    let options: MySqlConnectOptions =
        format!("mysql:{rest}").parse().map_err(|error| unfit(name, url, &error))?;
    let demanded = matches!(
        options.get_ssl_mode(),
        MySqlSslMode::Required | MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity
    );
    check_tls(name, url, demanded, cfg!(feature = "tls"))?;
    check_files(name, url, &["ssl-ca", "ssl-cert", "ssl-key"])?;
    let options = options
        .disable_statement_logging()
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None);
    let how = How::Mysql(Box::new(options));
    Ok(Target {
        dialect: Dialect::Mysql,
        shown: shown(url),
        is_in_memory: false,
        largest: Arc::default(),
        how,
    })
}

/// The URL without its secrets and its parameters.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn shown(url: &str) -> String {
    let shown = redact(url);
    shown.split_once('?').map_or_else(|| shown.clone(), |(place, _)| place.into())
}

#[cfg(all(test, any(feature = "postgres", feature = "mysql")))]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_there_is_named() {
        let url =
            "postgres://ada:lovelace@host/db?sslmode=verify-full&sslrootcert=/no/such%20ca.pem";
        let told = check_files("url", url, &["sslrootcert"])
            .expect_err("there is no such file")
            .to_string();
        assert!(told.starts_with("url: found sslrootcert=/no/such ca.pem: No such file"), "{told}");
        assert!(told.ends_with(", expected a file in PEM") && !told.contains("lovelace"), "{told}");
        assert!(check_files("url", url, &["ssl-ca"]).is_ok(), "another database's parameter");
        let there =
            concat!("postgres://host/db?sslrootcert=", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(check_files("url", there, &["sslrootcert"]).is_ok());
        assert!(
            check_files(
                "url",
                "postgres://host/db?sslrootcert=-----BEGIN+CERTIFICATE",
                &["sslrootcert"]
            )
            .is_ok()
        );
    }

    #[test]
    fn tls_that_is_demanded_of_a_build_without_it_is_a_mistake_that_names_the_feature() {
        let url = "postgres://ada:lovelace@host/db?sslmode=require";
        let told = check_tls("url", url, true, false).expect_err("there is no TLS").to_string();
        assert!(told.contains("\"db-tls\"") && !told.contains("lovelace"), "{told}");
        assert!(check_tls("url", url, true, true).is_ok());
        assert!(check_tls("url", url, false, false).is_ok());
    }
}
