//! The store: commands to servers, as an implementation of [`Cache`].

mod inspect;
mod leases;
mod many;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use cache_core::{
    Cache, Clock, Error, ErrorKind, Finding, Inspector, Leases, Result, Stats, Ttl, Value,
    async_trait,
};
use redis::{Cmd, ToRedisArgs, Value as Reply};

use self::leases::Marks;
use crate::{
    RedisOptions, diagnosis,
    failure::{Failure, Fault},
    keyspace::{Keyspace, Prefixes, Scope},
    location::{Address, Location, locations},
    node::{Effect, Node},
    scan::Scan,
    script::{Script, Scripts},
    stats, tls,
    topology::{Access, Topology},
    value::{self, Encoded, MARK_HEAD, MIN_MAX_VALUE_BYTES},
};

/// The maximum time to live in milliseconds, about 146 million years. The server adds the time to
/// live to the current time, so a larger one would overflow.
const MAX_TTL_MILLIS: u64 = 1 << 62;

/// How many keys a server may have for `stats` to count those of the cache.
const MAX_COUNTED_KEYS: u64 = 200_000;

const READ: Access = Access::Read;
const WRITE: Access = Access::Write(Effect::Idempotent);
const WRITE_ONCE: Access = Access::Write(Effect::Once);

/// A store in Redis or Valkey. See the [crate documentation](crate).
///
/// It connects when it is first used. Its connections belong to the tokio runtime of that call,
/// until [`close`](Cache::close). Cloning it is cheap, and clones share the store.
#[derive(Clone)]
pub struct RedisCache {
    servers: Arc<Servers>,
    keyspace: Arc<Keyspace>,
}

/// The servers and the connections to them. Stores with the same servers and options share them.
#[derive(Debug)]
pub(crate) struct Servers {
    topology: Topology,
    options: RedisOptions,
    scripts: Scripts,
    marks: Marks,
}

impl Servers {
    pub(crate) fn new(
        locations: &[Location],
        options: RedisOptions,
        folder: Option<&Path>,
    ) -> Result<Self> {
        options.check()?;
        let uses_tls =
            |location: &Location| matches!(location.address, Address::Tcp { tls: true, .. });
        let uses_tls = locations.iter().any(uses_tls);
        let tls = uses_tls.then(|| tls::client(&options, folder)).transpose()?;
        let topology = Topology::new(locations, &options, tls.as_ref())?;
        Ok(Self { topology, options, scripts: Scripts::new(), marks: Marks::new() })
    }
}

impl RedisCache {
    /// Creates a store on the servers at these URLs. The options say how the servers are related.
    ///
    /// The store does not know the prefix of its keys, so [`clear`](Cache::clear) works only with
    /// the option `namespace` or `clear_database`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if a URL or an option is invalid, or if a certificate file
    /// cannot be read.
    pub fn new<T: AsRef<str>>(urls: &[T], options: RedisOptions) -> Result<Self> {
        let locations = locations(urls, None)?;
        let keyspace = Keyspace::new(
            &options.namespace,
            options.clear_database,
            None,
            String::new(),
            Prefixes::default(),
        );
        let servers = Servers::new(&locations, options, None)?;
        Ok(Self::with_keyspace(Arc::new(servers), keyspace))
    }

    pub(crate) fn with_keyspace(servers: Arc<Servers>, keyspace: Keyspace) -> Self {
        Self { servers, keyspace: Arc::new(keyspace) }
    }

    /// Returns the options of the store.
    #[must_use]
    pub fn options(&self) -> &RedisOptions {
        &self.servers.options
    }

    async fn execute(&self, key: &str, command: &Cmd, access: Access) -> Result<Reply, Failure> {
        self.servers.topology.execute(key.as_bytes(), command, access).await
    }

    async fn execute_integer(&self, key: &str, command: &Cmd, access: Access) -> Result<i64> {
        let reply = self.execute(key, command, access).await.map_err(Failure::into_error)?;
        self.expect_integer(reply)
    }

    /// Runs a script by its hash, or sends it if the server does not know it yet.
    async fn run_script(
        &self,
        script: &Script,
        key: &str,
        arguments: &(impl ToRedisArgs + Sync),
        access: Access,
    ) -> Result<Reply, Failure> {
        match self.execute(key, &script.evalsha(key, arguments), access).await {
            Err(failure) if failure.fault == Fault::NoScript => {
                self.execute(key, &script.eval(key, arguments), access).await
            }
            reply => reply,
        }
    }

    /// Returns the stored bytes, or `None` if the key is absent or holds another type than a
    /// string, which no cache writes.
    async fn get_bytes(&self, key: &str, access: Access) -> Result<Option<Vec<u8>>> {
        match self.execute(key, &get(key), access).await {
            Ok(reply) => self.expect_bytes(reply),
            Err(failure) if failure.fault == Fault::WrongType => {
                warn_wrong_type();
                Ok(None)
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// Extracts the bytes from a reply to GET.
    fn expect_bytes(&self, reply: Reply) -> Result<Option<Vec<u8>>> {
        match reply {
            Reply::Nil => Ok(None),
            Reply::BulkString(bytes) => Ok(Some(bytes)),
            Reply::ServerError(_) => {
                warn_wrong_type();
                Ok(None)
            }
            other => Err(self.unexpected_reply(&other)),
        }
    }

    fn expect_integer(&self, reply: Reply) -> Result<i64> {
        match reply {
            Reply::Int(number) => Ok(number),
            other => Err(self.unexpected_reply(&other)),
        }
    }

    /// Extracts the sum from a reply to a script that counts. There is none if the key is absent.
    async fn expect_sum(
        &self,
        key: &str,
        delta: i64,
        reply: Result<Reply, Failure>,
    ) -> Result<Option<i64>> {
        let failure = match reply {
            Ok(reply) => {
                let Some(sum) = self.expect_bytes(reply)? else { return Ok(None) };
                return value::parse_integer(&sum)
                    .map(Some)
                    .ok_or_else(|| self.unexpected_reply(&Reply::BulkString(sum)));
            }
            Err(failure) => failure,
        };
        Err(match failure.fault {
            Fault::NotAnInteger | Fault::WrongType => Error::not_an_integer(key).in_store("redis"),
            Fault::Overflow => {
                // Only for the message, so it does not matter if the value has changed since.
                let stored = self.get_bytes(key, WRITE).await?;
                let number = stored.and_then(|stored| value::parse_integer(&stored));
                Error::overflow(key, number.unwrap_or_default(), delta).in_store("redis")
            }
            _ => failure.into_error(),
        })
    }

    /// Checks a reply to SET.
    fn expect_okay(&self, reply: &Reply) -> Result<()> {
        match reply {
            Reply::Okay => Ok(()),
            other => Err(self.unexpected_reply(other)),
        }
    }

    /// Closes all connections after a reply of the wrong type. Replies may have been matched to the
    /// wrong requests, so none that is still to come can be trusted.
    ///
    /// An error of the server is in its place, and is returned as it is.
    fn unexpected_reply(&self, reply: &Reply) -> Error {
        if let Reply::ServerError(error) = reply {
            let servers = self.servers.topology.names().into();
            return Failure::from_server(&servers, error).into_error();
        }
        self.servers.topology.abort();
        let kind = match reply {
            Reply::Int(_) => "an integer",
            Reply::Array(_) => "an array",
            Reply::Nil => "nil",
            Reply::BulkString(_) => "a string",
            Reply::Okay | Reply::SimpleString(_) => "a status",
            _ => "another type",
        };
        let servers = self.servers.topology.names();
        let message = format!(
            "{servers}: received {kind} in place of the expected reply; closed the connections"
        );
        Error::new(ErrorKind::Unavailable, message).in_store("redis")
    }

    /// Removes all keys of this cache from a server.
    async fn clear_node(&self, node: &Arc<Node>) -> Result<()> {
        match self.keyspace.scope() {
            Scope::Prefix(prefix) => {
                let mut scan = Scan::of_cache(node, &self.keyspace, prefix);
                while let Some(keys) = scan.next().await.map_err(Failure::into_error)? {
                    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                    self.unlink(&keys, WRITE).await?;
                }
                Ok(())
            }
            Scope::Database => {
                let mut command = redis::cmd("FLUSHDB");
                command.arg("ASYNC");
                let deadline = node.timeouts().deadline();
                let reply = node.execute(&command, Effect::Idempotent, deadline).await;
                reply.map(drop).map_err(Failure::into_error)
            }
            Scope::Unknown => Ok(()),
        }
    }

    /// Counts the keys of this cache on a server, unless that would take too long, and all keys.
    async fn count_node(&self, node: &Arc<Node>) -> Result<(Option<u64>, u64), Failure> {
        let all = stats::size(node).await?;
        let entries = match self.keyspace.scope() {
            Scope::Database => Some(all),
            Scope::Prefix(prefix) if all <= MAX_COUNTED_KEYS => {
                Some(Scan::of_cache(node, &self.keyspace, prefix).count().await?)
            }
            Scope::Prefix(_) | Scope::Unknown => None,
        };
        Ok((entries, all))
    }

    /// Encodes a value, and rejects one that its server would not accept: the server would close
    /// the connection, which other calls use as well.
    async fn encode<'a>(&self, key: &str, value: &'a Value) -> Result<Encoded<'a>> {
        let encoded = Encoded::new(value)?;
        let size = encoded.size();
        let configured = self.servers.options.max_value_bytes;
        if size <= configured.min(MIN_MAX_VALUE_BYTES) {
            return Ok(encoded);
        }
        // A value that is always too large is not sent, even if the server is unreachable.
        let max = match size > configured {
            true => Ok(configured),
            false => self.servers.topology.max_value(key.as_bytes()).await,
        };
        match max.map_err(Failure::into_error)? {
            max if size > max => Err(Error::too_large(key, size, max).in_store("redis")),
            _ => Ok(encoded),
        }
    }

    /// Removes a key, given as the server stores it.
    async fn remove(&self, key: &str) -> Result<bool> {
        let mut command = redis::cmd("UNLINK");
        command.arg(key);
        Ok(self.execute_integer(key, &command, WRITE_ONCE).await? > 0)
    }
}

fn get(key: &str) -> Cmd {
    let mut command = redis::cmd("GET");
    command.arg(key);
    command
}

fn set(key: &str, value: &Encoded<'_>, ttl: Option<Duration>) -> Cmd {
    let mut command = Cmd::with_capacity(5, key.len() + value.size() + 32);
    command.arg("SET").arg(key).arg(value);
    if let Some(ttl) = ttl {
        command.arg("PX").arg(millis(ttl));
    }
    command
}

/// Creates the command that reads the first two bytes, which show whether there is an entry.
fn head(key: &str) -> Cmd {
    let mut command = redis::cmd("GETRANGE");
    command.arg(key).arg(0).arg(MARK_HEAD.len() - 1);
    command
}

/// Whether these are the first bytes of an entry. Otherwise the key is absent, or has a mark.
fn is_entry(head: &[u8]) -> bool {
    !head.is_empty() && head != MARK_HEAD
}

/// Converts to whole milliseconds, rounded up so that no entry expires early.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_nanos().div_ceil(1_000_000))
        .unwrap_or(MAX_TTL_MILLIS)
        .clamp(1, MAX_TTL_MILLIS)
}

fn warn_wrong_type() {
    tracing::warn!("key holds another type than a string, treated as a miss");
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for RedisCache {
    fn name(&self) -> &str {
        "redis"
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.get_bytes(&self.keyspace.key(key), READ).await?.and_then(value::decode))
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let key = self.keyspace.key(key);
        let encoded = match self.encode(&key, &value).await {
            Ok(encoded) => encoded,
            Err(error) => {
                // The old value must not outlive a `set`, even one that fails.
                if error.kind() == ErrorKind::TooLarge {
                    self.remove(&key).await?;
                }
                return Err(error);
            }
        };
        let reply = self.execute(&key, &set(&key, &encoded, ttl), WRITE).await;
        self.expect_okay(&reply.map_err(Failure::into_error)?)
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let key = self.keyspace.key(key);
        let encoded = self.encode(&key, &value).await?;
        let mut command = set(&key, &encoded, ttl);
        command.arg("NX");
        let commands = vec![(key.as_bytes(), command), (key.as_bytes(), head(&key))];
        let replies = self.servers.topology.execute_all(commands, WRITE_ONCE).await;
        match &*replies.map_err(Failure::into_error)? {
            [Reply::Okay, _] => Ok(true),
            // There is a mark, or what there was has expired since.
            [Reply::Nil, Reply::BulkString(head)] if !is_entry(head) => {
                let arguments = (&encoded, ttl.map(millis));
                let add = self.run_script(&self.servers.scripts.add, &key, &arguments, WRITE_ONCE);
                Ok(self.expect_integer(add.await.map_err(Failure::into_error)?)? > 0)
            }
            [Reply::Nil, _] => Ok(false),
            replies => {
                Err(self.unexpected_reply(replies.first().unwrap_or(&Reply::Array(Vec::new()))))
            }
        }
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        let key = self.keyspace.key(key);
        let script = &self.servers.scripts.touch;
        let reply = self.run_script(script, &key, &ttl.map(millis), WRITE).await;
        Ok(self.expect_integer(reply.map_err(Failure::into_error)?)? > 0)
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let key = self.keyspace.key(key);
        let incr = self.run_script(&self.servers.scripts.incr, &key, &delta, WRITE_ONCE);
        self.expect_sum(&key, delta, incr.await).await
    }

    async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        let key = self.keyspace.key(key);
        let arguments = (delta, initial, ttl.map(millis));
        let script = &self.servers.scripts.incr_or_set;
        let reply = self.run_script(script, &key, &arguments, WRITE_ONCE).await;
        let sum = self.expect_sum(&key, delta, reply).await?;
        sum.ok_or_else(|| self.unexpected_reply(&Reply::Nil))
    }

    async fn get_and_touch(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        let key = self.keyspace.key(key);
        let script = &self.servers.scripts.get_and_touch;
        let reply = self.run_script(script, &key, &ttl.map(millis), WRITE).await;
        let stored = self.expect_bytes(reply.map_err(Failure::into_error)?)?;
        Ok(stored.and_then(value::decode))
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.remove(&self.keyspace.key(key)).await
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let key = self.keyspace.key(key);
        let reply = self.run_script(&self.servers.scripts.ttl, &key, &None::<u64>, WRITE).await;
        Ok(match self.expect_integer(reply.map_err(Failure::into_error)?)? {
            -2 => None,
            -1 => Some(Ttl::Never),
            // The server reports 0 during the last millisecond.
            left => Some(Ttl::Left(Duration::from_millis(u64::try_from(left).unwrap_or(0).max(1)))),
        })
    }

    async fn clear(&self) -> Result<()> {
        if *self.keyspace.scope() == Scope::Unknown {
            let message = "cannot tell the keys of this cache from others, because it has a \
                           custom KEY_FUNCTION or was created in code; set OPTIONS.namespace, or \
                           set OPTIONS.clear_database if the whole database belongs to this cache";
            return Err(Error::new(ErrorKind::Config, message).in_store("redis"));
        }
        for node in self.servers.topology.primaries().await.map_err(Failure::into_error)? {
            self.clear_node(&node).await?;
        }
        Ok(())
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

    fn max_entries(&self) -> Option<u64> {
        None
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn inspector(&self) -> Option<&dyn Inspector> {
        Some(self)
    }

    fn inner(&self) -> Option<&dyn Cache> {
        None
    }

    fn server_of(&self, key: &str) -> usize {
        self.servers.topology.server_of(self.keyspace.key(key).as_bytes())
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        let key = self.keyspace.key(key);
        match self.execute(&key, &head(&key), READ).await {
            Ok(Reply::BulkString(head)) => Ok(is_entry(&head)),
            Ok(other) => Err(self.unexpected_reply(&other)),
            Err(failure) if failure.fault == Fault::WrongType => Ok(true),
            Err(failure) => Err(failure.into_error()),
        }
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        self.read_many(keys).await
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        self.write_many(entries, ttl).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        self.remove_many(keys).await
    }

    /// Returns `entries` only if no server has more than 200,000 keys, because it scans them.
    ///
    /// `bytes` is the memory that the primaries use, and `hits`, `misses`, `evictions` and
    /// `expirations` are those of all servers, including what belongs to other applications.
    ///
    /// `details` has `keys`, the number of all keys in the database, and the main fields of INFO
    /// for each server.
    async fn stats(&self) -> Result<Stats> {
        let topology = &self.servers.topology;
        let (mut entries, mut keys) = (Some(0), 0);
        for node in topology.primaries().await.map_err(Failure::into_error)? {
            let (counted, all) = self.count_node(&node).await.map_err(Failure::into_error)?;
            entries = entries.zip(counted).map(|(entries, counted)| entries + counted);
            keys += all;
        }
        let details = vec![("keys".to_owned(), keys.to_string())];
        let mut stats = Stats { entries, details, ..Stats::default() };
        for node in topology.servers().await.map_err(Failure::into_error)? {
            stats::add(&mut stats, &node).await;
        }
        Ok(stats)
    }

    /// Reports memory limits, eviction, persistence, clients, clocks and certificates of all
    /// servers, as far as the user may execute INFO and TIME.
    async fn diagnose(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for node in self.servers.topology.servers().await.map_err(Failure::into_error)? {
            findings.extend(diagnosis::run(&node, &Clock::system()).await);
        }
        Ok(findings)
    }

    /// Does nothing, because the server removes expired entries itself.
    async fn purge_expired(&self, _: u64) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn close(&self) -> Result<()> {
        self.servers.topology.close();
        Ok(())
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache")
            .field("topology", &self.servers.topology)
            .field("options", &self.servers.options)
            .field("keys", self.keyspace.scope())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_is_rounded_up_to_milliseconds() {
        for (ttl, expected) in [
            (Duration::from_nanos(1), 1),
            (Duration::from_micros(1001), 2),
            (Duration::from_secs(3), 3000),
            (Duration::MAX, MAX_TTL_MILLIS),
        ] {
            assert_eq!(millis(ttl), expected);
        }
    }
}
