//! The store: [`Cache`] implemented with the commands of memcached.

mod counting;
mod inspect;
mod leases;
mod many;

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{
    Cache, Clock, Error, ErrorKind, Finding, Inspector, Leases, MAX_KEY_CHARS, Result, Stats, Ttl,
    Value, async_trait,
};
use futures_util::future::join_all;

use crate::{
    MemcachedOptions, WhenDead,
    address::{self, Address},
    connect::{Connector, Credentials},
    diagnosis,
    error_line::{self, Meaning},
    expiry::Expiry,
    item::{self, Item},
    rendezvous::Rendezvous,
    server::{CallError, Server, Timeouts},
    tls,
    wire::{Command, Reply, Status},
};

/// The name of the store in errors and metrics.
const NAME: &str = "memcached";

/// The maximum length of a key in bytes, which is memcached's limit.
pub const MAX_KEY_BYTES: usize = 250;

/// A cache on one or many memcached servers.
///
/// Cloning it is cheap, and clones share their connections. The [crate documentation](crate)
/// describes its behavior.
#[derive(Clone)]
pub struct MemcachedCache(Arc<Inner>);

struct Inner {
    servers: Vec<Arc<Server>>,
    rendezvous: Rendezvous,
    when_dead: WhenDead,
    compress_above: Option<usize>,
    max_decompressed: usize,
}

impl MemcachedCache {
    /// Creates a store on these servers, each given once as `host:port`, `[IPv6]:port` or
    /// `unix:/path`.
    ///
    /// Connections are made when they are needed, by calls from within a tokio runtime with time
    /// and I/O enabled.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if an address or an option is invalid.
    pub fn new<S: AsRef<str>>(location: &[S], options: &MemcachedOptions) -> Result<Self> {
        Self::with_addresses(address::parse_all(location)?, options)
    }

    pub(crate) fn with_addresses(
        addresses: Vec<Address>,
        options: &MemcachedOptions,
    ) -> Result<Self> {
        options.validate(addresses.len())?;
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            request: options.timeout,
            max_pause: options.dead_timeout,
        };
        let names = addresses.iter().map(ToString::to_string);
        let rendezvous = Rendezvous::new(names, &options.weights);
        let credentials = options.username.clone().zip(options.password.clone());
        let credentials =
            credentials.map(|(username, password)| Credentials { username, password });
        let tls = tls::client(options)?;
        let connector =
            |address| Connector { address, credentials: credentials.clone(), tls: tls.clone() };
        let servers = addresses
            .into_iter()
            .map(|address| Arc::new(Server::new(connector(address), timeouts)));
        Ok(Self(Arc::new(Inner {
            servers: servers.collect(),
            rendezvous,
            when_dead: options.when_dead,
            compress_above: options.compression_threshold(),
            max_decompressed: options.decompression_limit(),
        })))
    }

    /// Contacts every server and returns the names of those that cannot be used, with the reason.
    ///
    /// A health check that uses single keys may overlook one failed server of many.
    pub async fn unreachable(&self) -> Vec<(String, Error)> {
        let servers = &self.0.servers;
        let results = join_all(servers.iter().map(|server| server.stats())).await;
        let failed = |(server, result): (&Arc<Server>, Result<_>)| {
            Some((server.name().to_owned(), in_store(result.err()?)))
        };
        servers.iter().zip(results).filter_map(failed).collect()
    }

    /// Sends a command to the server that holds the key. Returns `None` if the server cannot be
    /// reached and the option `when_dead` is `miss`.
    async fn call(&self, command: &Command<'_>) -> Result<Option<Reply>> {
        let Inner { servers, rendezvous, when_dead, .. } = &*self.0;
        let first = rendezvous.pick(command.key());
        match servers[first].call(command).await {
            Ok(reply) => Ok(Some(reply)),
            Err(failed) => match when_dead {
                WhenDead::Error => Err(failed.error),
                WhenDead::Miss => Ok(None),
                WhenDead::Next => self.call_next(command, first, failed).await.map(Some),
            },
        }
    }

    /// Sends a command to the next servers in the ranking of the key until one replies.
    async fn call_next(
        &self,
        command: &Command<'_>,
        first: usize,
        failed: CallError,
    ) -> Result<Reply> {
        let Inner { servers, rendezvous, .. } = &*self.0;
        let mut tried = vec![first];
        let mut last = failed;
        while !last.maybe_executed || command.is_retryable() {
            let next = rendezvous.pick_among(command.key(), |server| !tried.contains(&server));
            let Some(next) = next else { break };
            match servers[next].call(command).await {
                Ok(reply) => return Ok(reply),
                Err(failed) => last = failed,
            }
            tried.push(next);
        }
        Err(last.error)
    }

    /// The size in bytes of the largest item that the key's server stores, if it is known.
    fn max_item_size(&self, key: &str) -> Option<usize> {
        self.0.servers[self.0.rendezvous.pick(key)].max_item_size()
    }

    /// Returns whether the server is known to reject an item of this length.
    ///
    /// Such an item is not sent. Instead the old entry is deleted, as the server would do.
    fn is_too_large(&self, key: &str, len: usize) -> bool {
        self.max_item_size(key).is_some_and(|max| len > max)
    }

    fn too_large(&self, key: &str, len: usize) -> Error {
        Error::too_large(key, len + key.len(), self.max_item_size(key).unwrap_or(0))
    }

    fn item<'a>(&self, value: &'a Value) -> Result<Item<'a>> {
        Item::new(value, self.0.compress_above)
    }

    /// How many bytes the values of a call may take when they are decompressed, if this many were
    /// received: as many as one value, and what usual values expand to.
    fn decompression_room(&self, received: usize) -> usize {
        const USUAL_RATIO: usize = 16;
        self.0.max_decompressed.saturating_add(received.saturating_mul(USUAL_RATIO))
    }

    /// Decodes an entry. One that is corrupt, was written by another application, or does not fit
    /// into the `room` that is left for the values of the call is a miss.
    fn decode(&self, key: &str, reply: Reply, room: &mut usize) -> Option<Value> {
        let Reply { flags, data, .. } = reply;
        let is_stub = item::is_stub(flags, &data);
        let value = item::decode(flags, data, self.0.max_decompressed.min(*room));
        match &value {
            Some(value) if item::is_compressed(flags) => *room = room.saturating_sub(value.size()),
            Some(_) => {}
            None if is_stub => {}
            None => {
                metrics::counter!("cachette_memcached_foreign_total").increment(1);
                tracing::warn!(
                    key,
                    flags,
                    "entry treated as a miss: it is corrupt, too large, or was written by another \
                     application"
                );
            }
        }
        value
    }

    /// Sends a command that replaces an entry. If the item is too large, the old entry is deleted.
    async fn store(&self, command: Command<'_>) -> Result<Status> {
        let key = command.key();
        let len = command.item().map_or(0, Item::len);
        if self.is_too_large(key, len) {
            self.call(&Command::Delete(key)).await?;
            return Err(self.too_large(key, len));
        }
        self.send(command).await
    }

    /// Sends a command that adds an entry. If the item is too large, an existing entry is kept.
    ///
    /// The server would delete the existing entry, so an item that is too large is never sent.
    async fn store_new(&self, command: Command<'_>) -> Result<Status> {
        let key = command.key();
        let len = command.item().map_or(0, Item::len);
        if self.max_item_size(key).is_none() {
            self.0.servers[self.0.rendezvous.pick(key)].ensure_connected().await;
        }
        if !self.is_too_large(key, len) {
            return self.send(command).await;
        }
        match self.call(&Command::GetHead(key)).await? {
            Some(reply) if is_found(&reply)? && !reply.is_stub() => Ok(Status::NotStored),
            _ => Err(self.too_large(key, len)),
        }
    }

    async fn send(&self, command: Command<'_>) -> Result<Status> {
        let key = command.key();
        let len = command.item().map_or(0, Item::len);
        match self.call(&command).await?.map(|reply| reply.status) {
            None => Ok(Status::NotStored),
            Some(status) if Meaning::of(&status) == Some(Meaning::TooLarge) => {
                Err(self.too_large(key, len))
            }
            Some(Status::Error(line)) => Err(error_line::into_error(&line)),
            Some(status) => Ok(status),
        }
    }
}

/// Applies Django's rule for keys, but counts bytes, as the server does. A valid key cannot end a
/// command or start another one.
fn validate_key(key: &str) -> Result<()> {
    let problem = if key.is_empty() {
        "is empty"
    } else if key.len() > MAX_KEY_BYTES {
        "is longer than 250 bytes"
    } else if key.bytes().fold(false, |found, byte| found | (byte <= b' ') | (byte == 0x7F)) {
        "contains a control character or a space"
    } else {
        return Ok(());
    };
    let shown: String = key.chars().take(MAX_KEY_CHARS).collect();
    Err(Error::new(
        ErrorKind::InvalidKey,
        format!("the key {shown:?} {problem}, which memcached does not accept"),
    ))
}

/// The error for a reply that does not belong to the command.
fn unexpected(status: &Status) -> Error {
    match status {
        Status::Error(line) => error_line::into_error(line),
        other => Error::new(ErrorKind::Backend, format!("unexpected reply {other:?}")),
    }
}

fn is_found(reply: &Reply) -> Result<bool> {
    match &reply.status {
        Status::Done | Status::Value => Ok(true),
        Status::NotFound => Ok(false),
        other => Err(unexpected(other)),
    }
}

fn in_store(error: Error) -> Error {
    error.in_store(NAME)
}

impl MemcachedCache {
    async fn get_value(&self, key: &str) -> Result<Option<Value>> {
        validate_key(key)?;
        match self.call(&Command::Get(key)).await? {
            Some(reply) if is_found(&reply)? => {
                Ok(self.decode(key, reply, &mut self.decompression_room(0)))
            }
            _ => Ok(None),
        }
    }

    async fn set_value(&self, key: &str, value: &Value, ttl: Option<Duration>) -> Result<()> {
        validate_key(key)?;
        match self.store(Command::Set(key, self.item(value)?, Expiry::new(ttl))).await? {
            // `NotStored` means that the server is down and `when_dead` is `miss`.
            Status::Done | Status::NotStored => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn add_value(&self, key: &str, value: &Value, ttl: Option<Duration>) -> Result<bool> {
        validate_key(key)?;
        match self.store_new(Command::Add(key, self.item(value)?, Expiry::new(ttl))).await? {
            Status::Done => Ok(true),
            // `NotStored` also means that the server is down and `when_dead` is `miss`.
            Status::NotStored => self.add_over_lease(key, value, ttl).await,
            other => Err(unexpected(&other)),
        }
    }

    /// Sends a command whose reply contains only whether the entry exists.
    async fn call_found(&self, command: Command<'_>) -> Result<bool> {
        validate_key(command.key())?;
        self.call(&command).await?.map_or(Ok(false), |reply| is_found(&reply))
    }

    async fn touch_value(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        validate_key(key)?;
        let Some(found) = self.call_at(&Command::Touch(key, Expiry::new(ttl))).await? else {
            return Ok(false);
        };
        if is_found(&found.reply)? && found.reply.is_stub() {
            self.end_touched_lease(key, &found).await?;
            return Ok(false);
        }
        is_found(&found.reply)
    }

    async fn get_and_touch_value(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        validate_key(key)?;
        let command = Command::GetAndTouch(key, Expiry::new(ttl));
        let Some(found) = self.call_at(&command).await? else { return Ok(None) };
        if !is_found(&found.reply)? {
            return Ok(None);
        }
        if found.reply.is_stub() {
            self.end_touched_lease(key, &found).await?;
            return Ok(None);
        }
        Ok(self.decode(key, found.reply, &mut self.decompression_room(0)))
    }

    async fn get_ttl(&self, key: &str) -> Result<Option<Ttl>> {
        validate_key(key)?;
        let Some(reply) = self.call(&Command::GetTtl(key)).await? else { return Ok(None) };
        if !is_found(&reply)? || !self.is_ours(key, reply.flags).await? {
            return Ok(None);
        }
        let ttl = u64::try_from(reply.ttl).ok();
        Ok(Some(ttl.map_or(Ttl::Never, |seconds| Ttl::Left(Duration::from_secs(seconds)))))
    }

    async fn contains_value(&self, key: &str) -> Result<bool> {
        validate_key(key)?;
        let Some(reply) = self.call(&Command::GetFlags(key)).await? else { return Ok(false) };
        Ok(is_found(&reply)? && self.is_ours(key, reply.flags).await?)
    }

    /// Returns whether the entry is one that [`get`](Cache::get) returns. If another application
    /// wrote it, only its value shows whether it is a counter.
    async fn is_ours(&self, key: &str, flags: u32) -> Result<bool> {
        Ok(item::has_known_flags(flags) || self.get_value(key).await?.is_some())
    }

    async fn flush(&self) -> Result<()> {
        let servers = &self.0.servers;
        tracing::warn!(
            servers = servers.len(),
            "flush_all removes all entries from memcached, including those of other applications"
        );
        let results = join_all(servers.iter().map(|server| server.flush())).await;
        results.into_iter().collect()
    }

    async fn collect_stats(&self) -> Stats {
        let servers = &self.0.servers;
        let results = join_all(servers.iter().map(|server| server.stats())).await;
        let mut stats = Stats::default();
        for (server, result) in servers.iter().zip(results) {
            match result {
                Ok(values) => add_stats(&mut stats, server.name(), &values),
                Err(error) => {
                    let error = error.to_string();
                    stats.details.push((format!("{} down", server.name()), error.clone()));
                    stats.unreachable.push((server.name().to_owned(), error));
                }
            }
        }
        stats
    }
}

/// The statistics of each server that are shown to operators.
const DETAILS: [&str; 8] = [
    "version",
    "uptime",
    "limit_maxbytes",
    "get_hits",
    "get_misses",
    "evictions",
    "curr_connections",
    "threads",
];

fn add_stats(stats: &mut Stats, server: &str, values: &[(String, String)]) {
    let find = |stat: &str| values.iter().find(|(name, _)| name == stat).map(|(_, value)| value);
    for (sum, name) in [
        (&mut stats.entries, "curr_items"),
        (&mut stats.bytes, "bytes"),
        (&mut stats.hits, "get_hits"),
        (&mut stats.misses, "get_misses"),
        (&mut stats.evictions, "evictions"),
    ] {
        if let Some(number) = find(name).and_then(|value| value.parse::<u64>().ok()) {
            *sum = Some(sum.unwrap_or(0) + number);
        }
    }
    let details =
        DETAILS.iter().filter_map(|name| Some((format!("{server} {name}"), find(name)?.clone())));
    stats.details.extend(details);
}

#[async_trait]
impl Cache for MemcachedCache {
    fn name(&self) -> &str {
        NAME
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.get_value(key).await.map_err(in_store)
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        self.set_value(key, &value, ttl).await.map_err(in_store)
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        self.add_value(key, &value, ttl).await.map_err(in_store)
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        self.touch_value(key, ttl).await.map_err(in_store)
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        self.add_delta(key, delta).await.map_err(in_store)
    }

    async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        self.add_delta_or_set(key, delta, initial, ttl).await.map_err(in_store)
    }

    async fn get_and_touch(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        self.get_and_touch_value(key, ttl).await.map_err(in_store)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.call_found(Command::Delete(key)).await.map_err(in_store)
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.get_ttl(key).await.map_err(in_store)
    }

    /// Sends `flush_all` to every server, which also removes the entries of other applications and
    /// other caches.
    ///
    /// If a server fails, the error names it, and the other servers are emptied nevertheless.
    async fn clear(&self) -> Result<()> {
        self.flush().await.map_err(in_store)
    }

    fn server_of(&self, key: &str) -> usize {
        self.0.rendezvous.pick(key)
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        self.contains_value(key).await.map_err(in_store)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        self.get_values(keys).await.map_err(in_store)
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        self.set_values(entries, ttl).await.map_err(in_store)
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        self.delete_values(keys).await.map_err(in_store)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn inspector(&self) -> Option<&dyn Inspector> {
        Some(self)
    }

    /// Returns the totals of all servers. The details list each server, and those that are down, so
    /// a server that cannot be reached is not an error.
    async fn stats(&self) -> Result<Stats> {
        Ok(self.collect_stats().await)
    }

    /// Reports limits, evictions, connections, clocks and certificates of all servers.
    async fn diagnose(&self) -> Result<Vec<Finding>> {
        let clock = Clock::system();
        let servers = self.0.servers.iter().map(|server| diagnosis::run(server, &clock));
        Ok(join_all(servers).await.into_iter().flatten().collect())
    }

    async fn close(&self) -> Result<()> {
        self.0.servers.iter().for_each(|server| server.close());
        Ok(())
    }
}

impl fmt::Debug for MemcachedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<&str> = self.0.servers.iter().map(|server| server.name()).collect();
        f.debug_struct("MemcachedCache")
            .field("servers", &servers)
            .field("when_dead", &self.0.when_dead)
            .finish()
    }
}
