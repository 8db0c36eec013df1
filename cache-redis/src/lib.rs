//! The store of cachette in Redis or Valkey: one server, one with replicas, one that sentinels watch over, or a cluster.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use cache_core::{CacheHandle, Result, Settings, Timeout};
//! # async fn run() -> Result<()> {
//! use cache_redis::{RedisCache, RedisOptions};
//!
//! let store = RedisCache::new(&["redis://:password@localhost:6379/0"], RedisOptions::default())?;
//! let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
//! cache.set("greeting", "hello", Timeout::Default).await?;
//! # Ok(()) }
//! ```
//!
//! LOCATION is the URL of a server, or a list of them, or one text with `,` or `;` between: `redis://user:password@host:6379/0`,
//! `rediss://…` for an encrypted connection (the feature `tls`), `unix:///path?db=0`. What they are to each other is said by
//! the [options](RedisOptions):
//!
//! | | LOCATION | |
//! |---|---|---|
//! | by default | a server, then replicas of it | the first is written to; `get`, `get_many` and `contains` go to the others in turn. A replica may be behind: a `get` can miss what was just set. One that fails is not asked for a second, and the first answers |
//! | `cluster = true` | some servers of the cluster | each key goes to whoever leads its slot; the replicas take over, and are not read from |
//! | `sentinel = "name"` | sentinels | all goes to whom they call the leader of this name |
//!
//! - **Atomicity.** `set`, `add`, `touch`, `incr` and `delete` are one command each, or a script, which a server runs as one. Of
//!   `set_many` and `delete_many`, each key is for itself.
//! - **Values.** Integers are decimal text, as Redis and Django have them. Bytes are themselves; those that spell an integer, or
//!   begin with the byte `0x1B`, stand behind a byte `0x1B`. What a `CacheHandle` encodes never does. More than 512 MiB are refused.
//! - **Beside a Django**, keys are the same, and integers are shared and counted by both, as far as they fit an `i64`. What
//!   else Django stores, as pickles, is a miss here that is counted and logged. What else is stored here raises an
//!   `UnpicklingError` in Django, as does anything that it can't read: such values want a KEY_PREFIX or VERSION of their own.
//! - **Time** is the server's, to the millisecond; a fraction of one counts as a whole.
//! - **`clear`** removes this cache's keys, a thousand in a step, by SCAN and UNLINK, and takes time in proportion to what is in
//!   the database. They are those that begin with the option `namespace`, or, without one, with KEY_PREFIX and a colon: an
//!   empty KEY_PREFIX means the keys that begin with a colon, those of all caches without a prefix. What begins with the longer
//!   prefix of another alias of the same configuration stays. With a KEY_FUNCTION of one's own and no `namespace`, `clear` is an
//!   error. The database is only ever emptied as a whole where `clear_database` says that it is this cache's alone.
//! - **Errors.** A server that is away or silent is [`ErrorKind::Unavailable`](cache_core::ErrorKind), with its address, after
//!   `socket_connect_timeout` plus `socket_timeout` at most (twice that for a read where there are replicas; in a batch, for
//!   each 5,000 keys or 4 MiB). The next call connects again. A call whose connection broke is made once more where doing it
//!   twice does no harm, so not `add`, `incr` and `delete`: these may have happened when they fail. A connection on which
//!   no answer came in time is replaced; one on which an answer does not fit what was asked is cut, and with it every call on it.
//! - **Cost.** All calls go over one connection to each server, and none waits for the answer of another; but a large value takes
//!   its time on the wire. A call is one round trip; `get_many`, `set_many` and `delete_many` are one to each server that has any of
//!   the keys.
//!
//! Of the options of redis-py and Django, those that make no sense here are taken and told of in a warning, so that a
//! configuration of Django's loads as it is: those of pools, parsers, retries and serializers.
//!
//! A user needs the commands GET, SET, MGET, UNLINK, EXISTS, PEXPIRE, PTTL, EVAL and EVALSHA, and in the scripts PERSIST and INCRBY;
//! for `clear` SCAN, for `stats` INFO and DBSIZE, for a cluster CLUSTER SLOTS and ASKING, with sentinels ROLE.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod cache;
mod failure;
mod gather;
mod link;
mod location;
mod node;
mod options;
mod room;
mod scan;
mod script;
mod stats;
mod tls;
mod topology;
mod value;

pub use self::{
    backend::RedisBackend,
    cache::RedisCache,
    options::{CertReqs, RedisOptions},
    value::MAX_VALUE_BYTES,
};
