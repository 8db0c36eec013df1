//! The store: commands to servers, as an implementation of [`Cache`].

mod many;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use cache_core::{Cache, Error, ErrorKind, Result, Stats, Ttl, Value, async_trait};
use redis::{Cmd, Value as Answer};

use crate::{
    RedisOptions,
    failure::{Failure, Fault},
    location::{Address, Location, locations},
    node::{Effect, Node},
    room::{Extent, Room, Rooms},
    scan::Scan,
    script::{Script, Scripts},
    stats, tls,
    topology::{Access, Topology},
    value::{self, Stored},
};

/// The longest time to live that is not for ever, in milliseconds: some 146 million years. Servers add it to the time of day.
const LONGEST: u64 = 1 << 62;

/// As many keys as `stats` looks at in one server, so that it ends in time.
const COUNTED: u64 = 200_000;

const READ: Access = Access::Read;
const WRITE: Access = Access::Write(Effect::Idempotent);
const WRITE_ONCE: Access = Access::Write(Effect::Once);

/// A store in Redis or Valkey. See the [crate's page](crate) for what it does.
///
/// It connects when it is first used, in the tokio runtime that then runs, and belongs to that runtime until
/// [`close`](Cache::close).
#[derive(Clone)]
pub struct RedisCache {
    servers: Arc<Servers>,
    room: Arc<Room>,
}

/// The servers, and the connections to them. Caches with the same servers and options share them.
#[derive(Debug)]
pub(crate) struct Servers {
    topology: Topology,
    options: RedisOptions,
    scripts: Scripts,
}

impl Servers {
    pub(crate) fn new(
        locations: &[Location],
        options: RedisOptions,
        folder: Option<&Path>,
    ) -> Result<Self> {
        options.check()?;
        let encrypted =
            |location: &Location| matches!(location.address, Address::Tcp { tls: true, .. });
        let is_encrypted = locations.iter().any(encrypted);
        let tls = is_encrypted.then(|| tls::client(&options, folder)).transpose()?;
        let topology = Topology::new(locations, &options, tls.as_ref())?;
        Ok(Self { topology, options, scripts: Scripts::new() })
    }
}

impl RedisCache {
    /// The store in the servers at these URLs, as the options say what they are to each other. As it can't know what its
    /// keys will begin with, [`clear`](Cache::clear) wants the option `namespace` or `clear_database`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a URL or an option can't be meant.
    pub fn new<T: AsRef<str>>(urls: &[T], options: RedisOptions) -> Result<Self> {
        let locations = locations(urls, None)?;
        let room = Room::new(
            &options.namespace,
            options.clear_database,
            None,
            String::new(),
            Rooms::default(),
        );
        Ok(Self::in_room(Arc::new(Servers::new(&locations, options, None)?), room))
    }

    pub(crate) fn in_room(servers: Arc<Servers>, room: Room) -> Self {
        Self { servers, room: Arc::new(room) }
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &RedisOptions {
        &self.servers.options
    }

    async fn ask(&self, key: &str, command: &Cmd, access: Access) -> Result<Answer, Failure> {
        self.servers.topology.ask(key.as_bytes(), command, access).await
    }

    /// Runs a script by its name, and as a whole on a server that does not know it yet.
    async fn run(
        &self,
        script: &Script,
        key: &str,
        argument: Option<i64>,
        access: Access,
    ) -> Result<Answer, Failure> {
        match self.ask(key, &script.by_name(key, argument), access).await {
            Err(failure) if failure.fault == Fault::NoScript => {
                self.ask(key, &script.whole(key, argument), access).await
            }
            answer => answer,
        }
    }

    /// The bytes under a key, where there are any. What is no text was not written by any cache, and is none.
    async fn stored(&self, key: &str, access: Access) -> Result<Option<Vec<u8>>> {
        match self.ask(key, &get(key), access).await {
            Ok(answer) => self.bytes(answer),
            Err(failure) if failure.fault == Fault::WrongType => {
                not_ours();
                Ok(None)
            }
            Err(failure) => Err(failure.told()),
        }
    }

    /// What a server answers to GET.
    fn bytes(&self, answer: Answer) -> Result<Option<Vec<u8>>> {
        match answer {
            Answer::Nil => Ok(None),
            Answer::BulkString(bytes) => Ok(Some(bytes)),
            Answer::ServerError(_) => {
                not_ours();
                Ok(None)
            }
            other => Err(self.unexpected(&other)),
        }
    }

    /// What a server answers to commands that count.
    fn number(&self, answer: Answer) -> Result<i64> {
        match answer {
            Answer::Int(number) => Ok(number),
            other => Err(self.unexpected(&other)),
        }
    }

    /// What a server answers to SET.
    fn done(&self, answer: &Answer) -> Result<()> {
        match answer {
            Answer::Okay => Ok(()),
            other => Err(self.unexpected(other)),
        }
    }

    /// An answer that is none to what was asked. Something on the way is broken: answers may have changed places, so
    /// nothing that is still to come can be believed.
    fn unexpected(&self, answer: &Answer) -> Error {
        self.servers.topology.cut();
        let kind = match answer {
            Answer::Int(_) => "a number",
            Answer::Array(_) => "a list",
            Answer::Nil => "nothing",
            Answer::BulkString(_) => "bytes",
            Answer::Okay | Answer::SimpleString(_) => "a status",
            _ => "something else",
        };
        let servers = self.servers.topology.shown();
        let message = format!(
            "{servers}: {kind} came where another answer was due: what is on the way is broken"
        );
        Error::new(ErrorKind::Unavailable, message).in_store("redis")
    }

    /// Removes every key of this cache from a server.
    async fn clear_one(&self, node: &Arc<Node>) -> Result<()> {
        match self.room.extent() {
            Extent::Prefix(prefix) => {
                let mut scan = Scan::new(node, &self.room, prefix);
                while let Some(keys) = scan.step().await.map_err(Failure::told)? {
                    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                    self.remove_some(&keys, WRITE).await?;
                }
                Ok(())
            }
            Extent::Database => {
                let mut command = redis::cmd("FLUSHDB");
                command.arg("ASYNC");
                let done =
                    node.ask_well(&command, Effect::Idempotent, node.limits().deadline()).await;
                done.map(drop).map_err(Failure::told)
            }
            Extent::Unknown => Ok(()),
        }
    }

    /// How many keys the cache has on a server, where they can be told in time, and how many keys there are.
    async fn count_one(&self, node: &Arc<Node>) -> Result<(Option<u64>, u64), Failure> {
        let all = stats::size(node).await?;
        let ours = match self.room.extent() {
            Extent::Database => Some(all),
            Extent::Prefix(prefix) if all <= COUNTED => {
                Some(Scan::new(node, &self.room, prefix).count().await?)
            }
            Extent::Prefix(_) | Extent::Unknown => None,
        };
        Ok((ours, all))
    }
}

fn get(key: &str) -> Cmd {
    let mut command = redis::cmd("GET");
    command.arg(key);
    command
}

fn set(key: &str, value: &Stored<'_>, ttl: Option<Duration>) -> Cmd {
    let mut command = Cmd::with_capacity(5, key.len() + value.size() + 32);
    command.arg("SET").arg(key).arg(value);
    if let Some(ttl) = ttl {
        command.arg("PX").arg(millis(ttl));
    }
    command
}

/// Whole milliseconds, rounded up: an entry must not expire before its time.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(LONGEST).clamp(1, LONGEST)
}

fn not_ours() {
    tracing::warn!("a key of the cache holds what no cache wrote: one of the server's other types");
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for RedisCache {
    fn name(&self) -> &str {
        "redis"
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.stored(&self.room.key(key), READ).await?.map(value::read))
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let key = self.room.key(key);
        let stored = match Stored::of(&key, &value) {
            Ok(stored) => stored,
            Err(error) => {
                if error.kind() == ErrorKind::TooLarge {
                    self.remove(&key).await?;
                }
                return Err(error);
            }
        };
        self.done(&self.ask(&key, &set(&key, &stored, ttl), WRITE).await.map_err(Failure::told)?)
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let key = self.room.key(key);
        let mut command = set(&key, &Stored::of(&key, &value)?, ttl);
        command.arg("NX");
        match self.ask(&key, &command, WRITE_ONCE).await.map_err(Failure::told)? {
            Answer::Okay => Ok(true),
            Answer::Nil => Ok(false),
            other => Err(self.unexpected(&other)),
        }
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        let key = self.room.key(key);
        let answer = match ttl {
            Some(ttl) => {
                let mut command = redis::cmd("PEXPIRE");
                command.arg(&*key).arg(millis(ttl));
                self.ask(&key, &command, WRITE).await
            }
            None => self.run(&self.servers.scripts.persist, &key, None, WRITE).await,
        };
        Ok(self.number(answer.map_err(Failure::told)?)? > 0)
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let key = self.room.key(key);
        let failure =
            match self.run(&self.servers.scripts.incr, &key, Some(delta), WRITE_ONCE).await {
                Ok(answer) => {
                    let Some(sum) = self.bytes(answer)? else { return Ok(None) };
                    return value::number_in(&sum)
                        .map(Some)
                        .ok_or_else(|| self.unexpected(&Answer::BulkString(sum)));
                }
                Err(failure) => failure,
            };
        Err(match failure.fault {
            Fault::NotAnInteger | Fault::WrongType => Error::not_an_integer(&key).in_store("redis"),
            Fault::Overflow => {
                // Only for the error's text: it may be another one by now.
                let number =
                    self.stored(&key, WRITE).await?.and_then(|stored| value::number_in(&stored));
                Error::overflow(&key, number.unwrap_or_default(), delta).in_store("redis")
            }
            _ => failure.told(),
        })
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.remove(&self.room.key(key)).await
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let key = self.room.key(key);
        let mut command = redis::cmd("PTTL");
        command.arg(&*key);
        Ok(match self.number(self.ask(&key, &command, WRITE).await.map_err(Failure::told)?)? {
            -2 => None,
            -1 => Some(Ttl::Never),
            // The last millisecond has begun.
            left => Some(Ttl::Left(Duration::from_millis(u64::try_from(left).unwrap_or(0).max(1)))),
        })
    }

    async fn clear(&self) -> Result<()> {
        if *self.room.extent() == Extent::Unknown {
            let message = "this cache's keys can't be told from what others write: its KEY_FUNCTION is one of your own, or \
                           it was made in code. Give it a namespace of its own (OPTIONS.namespace), or say that the \
                           whole database is its own (OPTIONS.clear_database)";
            return Err(Error::new(ErrorKind::Config, message).in_store("redis"));
        }
        for node in self.servers.topology.leaders().await.map_err(Failure::told)? {
            self.clear_one(&node).await?;
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

    fn inner(&self) -> Option<&dyn Cache> {
        None
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        let key = self.room.key(key);
        let mut command = redis::cmd("EXISTS");
        command.arg(&*key);
        Ok(self.number(self.ask(&key, &command, READ).await.map_err(Failure::told)?)? > 0)
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

    /// Counts the cache's keys where a server has no more than 200,000 of all kinds; beyond that, `entries` is not known.
    /// `details` has `keys`, how many there are in the database whosoever they are, and what each server tells of itself.
    async fn stats(&self) -> Result<Stats> {
        let topology = &self.servers.topology;
        let (mut entries, mut keys) = (Some(0), 0);
        for node in topology.leaders().await.map_err(Failure::told)? {
            let (ours, all) = self.count_one(&node).await.map_err(Failure::told)?;
            entries = entries.zip(ours).map(|(entries, ours)| entries + ours);
            keys += all;
        }
        let mut details = vec![("keys".to_owned(), keys.to_string())];
        for node in topology.servers().await.map_err(Failure::told)? {
            details.extend(stats::details(&node).await);
        }
        Ok(Stats { entries, details, ..Stats::default() })
    }

    /// The server removes what has expired.
    async fn purge_expired(&self, _: u64) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn close(&self) -> Result<()> {
        self.servers.topology.close();
        Ok(())
    }
}

impl RedisCache {
    /// Of a key as the server has it.
    async fn remove(&self, key: &str) -> Result<bool> {
        let mut command = redis::cmd("UNLINK");
        command.arg(key);
        Ok(self.number(self.ask(key, &command, WRITE_ONCE).await.map_err(Failure::told)?)? > 0)
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache")
            .field("topology", &self.servers.topology)
            .field("options", &self.servers.options)
            .field("keys", self.room.extent())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_rounded_up_to_milliseconds() {
        for (ttl, millis_of_it) in [
            (Duration::from_nanos(1), 1),
            (Duration::from_micros(1001), 2),
            (Duration::from_secs(3), 3000),
            (Duration::MAX, LONGEST),
        ] {
            assert_eq!(millis(ttl), millis_of_it);
        }
    }
}
