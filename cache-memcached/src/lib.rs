//! The memcached store of cachette: one or many servers as one cache.

mod address;
mod backend;
mod cache;
mod connection;
mod dial;
mod expiry;
mod item;
mod join;
mod options;
mod ring;
mod server;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod wire;

pub use self::{
    backend::MemcachedBackend,
    cache::{MAX_KEY_BYTES, MemcachedCache},
    options::{MemcachedOptions, WhenDead},
};
