//! The store: memcached's commands as the verbs of [`Cache`].

mod counting;
mod many;

use std::{fmt, sync::Arc, time::Duration};

use cache_core::{Cache, Error, ErrorKind, MAX_KEY_CHARS, Result, Stats, Ttl, Value, async_trait};
use futures_util::future::join_all;

use crate::{
    MemcachedOptions, WhenDead,
    address::{self, Address},
    dial::{Credentials, Dialer},
    expiry::Expiry,
    item::{self, Item},
    ring::Ring,
    server::{Limits, Server, Unanswered},
    tls,
    wire::{Command, Reply, Status},
};

/// The name of the store in errors and metrics.
const NAME: &str = "memcached";

/// memcached's limit for a key, in bytes.
pub const MAX_KEY_BYTES: usize = 250;

/// A cache on one or many memcached servers. See the [crate's page](crate).
///
/// Cloning it is cheap, and a clone is the same store.
#[derive(Clone)]
pub struct MemcachedCache(Arc<Inner>);

struct Inner {
    servers: Vec<Arc<Server>>,
    ring: Ring,
    when_dead: WhenDead,
    compress_above: Option<usize>,
    largest_inflated: usize,
}

impl MemcachedCache {
    /// The store on these servers: `host:port`, `[IPv6]:port` or `unix:/path`, each once. Nothing is sent before it is
    /// used, and then a tokio runtime with time and I/O enabled is needed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where an address or an option can't be meant.
    pub fn new<S: AsRef<str>>(location: &[S], options: &MemcachedOptions) -> Result<Self> {
        Self::at(address::read_all(location)?, options)
    }

    pub(crate) fn at(addresses: Vec<Address>, options: &MemcachedOptions) -> Result<Self> {
        options.validate(addresses.len())?;
        let limits = Limits {
            connect: options.connect_timeout,
            request: options.timeout,
            dead: options.dead_timeout,
        };
        let ring = Ring::new(addresses.iter().map(ToString::to_string), &options.weights);
        let credentials = options.username.clone().zip(options.password.clone());
        let credentials =
            credentials.map(|(username, password)| Credentials { username, password });
        let tls = tls::client(options)?;
        let dialer =
            |address| Dialer { address, credentials: credentials.clone(), tls: tls.clone() };
        let servers =
            addresses.into_iter().map(|address| Arc::new(Server::new(dialer(address), limits)));
        Ok(Self(Arc::new(Inner {
            servers: servers.collect(),
            ring,
            when_dead: options.when_dead,
            compress_above: options.compression_threshold(),
            largest_inflated: options.decompression_limit(),
        })))
    }

    /// Asks every server, and answers those that can't be used, with the reason: by its keys alone, a store with one dead
    /// server of many may look well for long.
    pub async fn unreachable(&self) -> Vec<(String, Error)> {
        let servers = &self.0.servers;
        let answers = join_all(servers.iter().map(|server| server.stats())).await;
        let dead = |(server, answer): (&Arc<Server>, Result<_>)| {
            Some((server.name().to_owned(), named(answer.err()?)))
        };
        servers.iter().zip(answers).filter_map(dead).collect()
    }

    /// The reply of the server that has the key; `None` where it is dead and its keys are missed.
    async fn ask(&self, command: &Command<'_>) -> Result<Option<Reply>> {
        let Inner { servers, ring, when_dead, .. } = &*self.0;
        let first = ring.pick(command.key());
        match servers[first].ask(command).await {
            Ok(reply) => Ok(Some(reply)),
            Err(unanswered) => match when_dead {
                WhenDead::Error => Err(unanswered.error),
                WhenDead::Miss => Ok(None),
                WhenDead::Next => self.ask_the_next(command, first, unanswered).await.map(Some),
            },
        }
    }

    async fn ask_the_next(
        &self,
        command: &Command<'_>,
        first: usize,
        unanswered: Unanswered,
    ) -> Result<Reply> {
        let Inner { servers, ring, .. } = &*self.0;
        let mut dead = vec![first];
        let mut last = unanswered;
        while !last.perhaps_done || command.may_be_repeated() {
            let Some(next) = ring.pick_among(command.key(), |server| !dead.contains(&server))
            else {
                break;
            };
            match servers[next].ask(command).await {
                Ok(reply) => return Ok(reply),
                Err(unanswered) => last = unanswered,
            }
            dead.push(next);
        }
        Err(last.error)
    }

    /// What the server may take at most for an entry, where the key's server has told.
    fn largest(&self, key: &str) -> Option<usize> {
        self.0.servers[self.0.ring.pick(key)].largest()
    }

    /// Whether the server is known to refuse so long an item. Then it is not sent, and the entry is removed, as the server
    /// would.
    fn is_too_large(&self, key: &str, length: usize) -> bool {
        self.largest(key).is_some_and(|largest| length > largest)
    }

    fn too_large(&self, key: &str, length: usize) -> Error {
        Error::too_large(key, length + key.len(), self.largest(key).unwrap_or(0))
    }

    fn item<'a>(&self, value: &'a Value) -> Result<Item<'a>> {
        Item::new(value, self.0.compress_above)
    }

    /// What an entry holds. One that is not ours, or broken, is a miss.
    fn read(&self, key: &str, reply: Reply) -> Option<Value> {
        let flags = reply.flags;
        let value = item::read(flags, reply.data, self.0.largest_inflated);
        if value.is_none() {
            metrics::counter!("cachette_memcached_foreign_total").increment(1);
            tracing::warn!(
                key,
                flags,
                "an entry in memcached is not one of ours, or broken: it is taken for a miss"
            );
        }
        value
    }

    async fn store(&self, command: Command<'_>) -> Result<Status> {
        let key = command.key();
        let length = command.item().map_or(0, Item::length);
        if self.is_too_large(key, length) {
            self.ask(&Command::Delete(key)).await?;
            return Err(self.too_large(key, length));
        }
        self.send(command).await
    }

    /// As [`store`](Self::store), but leaves what is there. The server would remove it on seeing a value that is too large, so
    /// that is never sent.
    async fn store_new(&self, command: Command<'_>) -> Result<Status> {
        let key = command.key();
        let length = command.item().map_or(0, Item::length);
        if self.largest(key).is_none() {
            self.0.servers[self.0.ring.pick(key)].get_ready().await;
        }
        if !self.is_too_large(key, length) {
            return self.send(command).await;
        }
        match self.ask(&Command::Look(key)).await? {
            Some(reply) if is_there(&reply)? => Ok(Status::NotStored),
            _ => Err(self.too_large(key, length)),
        }
    }

    async fn send(&self, command: Command<'_>) -> Result<Status> {
        let key = command.key();
        let length = command.item().map_or(0, Item::length);
        match self.ask(&command).await?.map(|reply| reply.status) {
            None => Ok(Status::NotStored),
            Some(Status::Refused(words)) if is_about_size(&words) => {
                Err(self.too_large(key, length))
            }
            Some(Status::Refused(words)) => Err(refused(&words)),
            Some(status) => Ok(status),
        }
    }
}

/// Django's rule, but counted in bytes, as the server does. What passes can't end a command or begin another one.
fn check(key: &str) -> Result<()> {
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
        format!("the key {shown:?} {problem}, which memcached does not take"),
    ))
}

fn is_about_size(words: &str) -> bool {
    words.contains("object too large")
}

fn refused(words: &str) -> Error {
    Error::new(ErrorKind::Backend, words.to_owned())
}

/// A reply that the server does not give to what was asked.
fn unexpected(status: &Status) -> Error {
    match status {
        Status::Refused(words) => refused(words),
        other => {
            Error::new(ErrorKind::Backend, format!("it answered what was not asked: {other:?}"))
        }
    }
}

fn is_there(reply: &Reply) -> Result<bool> {
    match &reply.status {
        Status::Done | Status::Value => Ok(true),
        Status::Missing => Ok(false),
        other => Err(unexpected(other)),
    }
}

fn named(error: Error) -> Error {
    error.in_store(NAME)
}

impl MemcachedCache {
    async fn get_value(&self, key: &str) -> Result<Option<Value>> {
        check(key)?;
        match self.ask(&Command::Get(key)).await? {
            Some(reply) if is_there(&reply)? => Ok(self.read(key, reply)),
            _ => Ok(None),
        }
    }

    async fn set_value(&self, key: &str, value: &Value, ttl: Option<Duration>) -> Result<()> {
        check(key)?;
        // "Not stored" is what a dead server's keys answer where they are missed.
        match self.store(Command::Set(key, self.item(value)?, Expiry::of(ttl))).await? {
            Status::Done | Status::NotStored => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn add_value(&self, key: &str, value: &Value, ttl: Option<Duration>) -> Result<bool> {
        check(key)?;
        match self.store_new(Command::Add(key, self.item(value)?, Expiry::of(ttl))).await? {
            Status::Done => Ok(true),
            Status::NotStored => Ok(false),
            other => Err(unexpected(&other)),
        }
    }

    /// For a command whose reply says only whether there is an entry.
    async fn found(&self, command: Command<'_>) -> Result<bool> {
        check(command.key())?;
        self.ask(&command).await?.map_or(Ok(false), |reply| is_there(&reply))
    }

    async fn time_left(&self, key: &str) -> Result<Option<Ttl>> {
        check(key)?;
        let Some(reply) = self.ask(&Command::TimeLeft(key)).await? else { return Ok(None) };
        if !is_there(&reply)? || !item::is_ours(reply.flags) {
            return Ok(None);
        }
        let left = u64::try_from(reply.time_left).ok();
        Ok(Some(left.map_or(Ttl::Never, |seconds| Ttl::Left(Duration::from_secs(seconds)))))
    }

    async fn is_ours_there(&self, key: &str) -> Result<bool> {
        check(key)?;
        let Some(reply) = self.ask(&Command::Look(key)).await? else { return Ok(false) };
        Ok(is_there(&reply)? && item::is_ours(reply.flags))
    }

    async fn flush(&self) -> Result<()> {
        let servers = &self.0.servers;
        tracing::warn!(
            servers = servers.len(),
            "memcached is emptied by flush_all, whoever wrote to it"
        );
        let answers = join_all(servers.iter().map(|server| server.flush())).await;
        answers.into_iter().collect()
    }

    async fn tell(&self) -> Stats {
        let servers = &self.0.servers;
        let answers = join_all(servers.iter().map(|server| server.stats())).await;
        let mut stats = Stats::default();
        for (server, answer) in servers.iter().zip(answers) {
            match answer {
                Ok(told) => add_up(&mut stats, server.name(), &told),
                Err(error) => {
                    stats.details.push((format!("{} down", server.name()), error.to_string()))
                }
            }
        }
        stats
    }
}

/// What of `stats` an operator looks at first.
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

fn add_up(stats: &mut Stats, server: &str, told: &[(String, String)]) {
    let find = |name: &str| told.iter().find(|(told, _)| told == name).map(|(_, value)| value);
    for (sum, name) in [(&mut stats.entries, "curr_items"), (&mut stats.bytes, "bytes")] {
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
        self.get_value(key).await.map_err(named)
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        self.set_value(key, &value, ttl).await.map_err(named)
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        self.add_value(key, &value, ttl).await.map_err(named)
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        self.found(Command::Touch(key, Expiry::of(ttl))).await.map_err(named)
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        self.count(key, delta).await.map_err(named)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.found(Command::Delete(key)).await.map_err(named)
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.time_left(key).await.map_err(named)
    }

    /// `flush_all` on every server: whatever other applications and other caches keep there is gone as well. An error
    /// names a server that was not emptied; the others are all the same.
    async fn clear(&self) -> Result<()> {
        self.flush().await.map_err(named)
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        self.is_ours_there(key).await.map_err(named)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        self.get_each(keys).await.map_err(named)
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        self.set_each(entries, ttl).await.map_err(named)
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        self.delete_each(keys).await.map_err(named)
    }

    /// Of all servers together. The details tell of each one by itself, and which are down; so this is no error.
    async fn stats(&self) -> Result<Stats> {
        Ok(self.tell().await)
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
