//! Stores that are configured inside the OPTIONS of another one.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value as Json;

use super::StoreConfig;
use crate::{Cache, Result};

/// The configuration of a store inside the OPTIONS of another one: a table with BACKEND, LOCATION
/// and OPTIONS, or a URL.
///
/// A field of an options struct. [`StoreConfig::open_nested`] opens the store.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct NestedStore(Json);

impl NestedStore {
    /// Returns the configuration as it was written.
    #[must_use]
    pub fn as_json(&self) -> &Json {
        &self.0
    }
}

/// A registry of BACKENDs that opens nested stores. The `Caches` of the crate `cachette` have one.
#[async_trait]
pub trait OpenNested: Send + Sync {
    /// Opens the store that `nested` configures, inside a store that `parent` configures.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](crate::ErrorKind::Config) if the configuration is wrong, and
    /// what the BACKEND returns.
    async fn open_nested(
        &self,
        parent: &StoreConfig,
        nested: &NestedStore,
    ) -> Result<Arc<dyn Cache>>;
}
