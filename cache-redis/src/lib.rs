//! The store of cachette in Redis or Valkey: one server, one with replicas, one that sentinels watch over, or a cluster.

mod backend;
mod cache;
mod failure;
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
