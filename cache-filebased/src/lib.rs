//! The store of cachette on disk.

mod backend;
mod cache;
mod call;
mod entries;
mod entry_file;
mod folder;
mod modes;
mod options;
mod reading;
mod sweep;

pub use self::{backend::FileBasedBackend, cache::FileBasedCache, options::FileBasedOptions, sweep::Swept};
