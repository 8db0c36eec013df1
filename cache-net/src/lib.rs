//! Connecting and TLS, shared by the stores of cachette that talk to a server.
//!
//! **Internal: no stability promise.** This crate is published only because `cache-db`,
//! `cache-memcached` and `cache-redis` depend on it. Its API may change in any release.
//!
//! Features: `tls` (rustls), and `native-certs` for the certificates of the operating system.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod diagnosis;
mod host_port;
mod lifetime;
mod shared;
mod tcp;
mod tls;

#[cfg(feature = "tls")]
pub use self::tls::{TlsBuilder, Verification};
pub use self::{
    diagnosis::certificate,
    host_port::{ipv6_host, misprinted_port, port_out_of_range, split_host_port},
    lifetime::Lifetime,
    shared::{Connection, SharedConnection},
    tcp::{cannot_connect, connect_tcp},
    tls::Tls,
};
