//! Invalidation of stored pages.

use std::sync::Arc;

use cache_core::{Error, ErrorKind, Result};
use http::Uri;

use crate::{HttpCacheLayer, Purge, settings::Settings};

/// A handle that invalidates the pages of an [`HttpCacheLayer`].
///
/// Created by [`HttpCacheLayer::purge_handle`]. Cloning costs a reference count. The handle uses
/// the settings that the layer has when the handle is created, such as the key prefix and the
/// hosts, so create it after the layer is configured.
///
/// A purge replaces a number that pages are stamped with: its cost does not depend on how many
/// pages there are.
#[derive(Clone)]
pub struct PurgeHandle {
    settings: Arc<Settings>,
}

impl HttpCacheLayer {
    /// Returns a handle that invalidates the pages of this layer.
    #[must_use]
    pub fn purge_handle(&self) -> PurgeHandle {
        PurgeHandle { settings: Arc::clone(&self.settings) }
    }
}

impl PurgeHandle {
    /// Purges every page of a URI, whatever it varies on and by whichever scheme and at whichever port it was asked for. The
    /// query counts as it is written.
    ///
    /// A page that is being made at the moment is not stored.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Config) where the URI has no host and [`hosts`](HttpCacheLayer::hosts) names none; and those of the store.
    pub async fn purge_uri(&self, uri: &str, purge: Purge) -> Result<()> {
        let config_error = |message: String| Error::new(ErrorKind::Config, message);
        let parsed: Uri =
            uri.parse().map_err(|error| config_error(format!("{uri:?} is no URI: {error}")))?;
        let Some(keys) = self.settings.key_builder.generations(&parsed) else {
            let message = format!(
                "{uri:?} has no host: write http://HOST{uri}, or name the site's hosts in `hosts`"
            );
            return Err(config_error(message));
        };
        for key in keys {
            self.purge_key(&key, purge).await?;
        }
        Ok(())
    }

    /// Purges every page that has this tag.
    ///
    /// Pages that are being made at the moment are not stored, so far as the clocks of the machines that share the store
    /// agree.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn purge_tag(&self, tag: &str, purge: Purge) -> Result<()> {
        self.purge_key(&self.settings.key_builder.generation_of_tag(tag), purge).await
    }

    /// Purges every page of this cache and key prefix.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn purge_all(&self, purge: Purge) -> Result<()> {
        self.purge_key(self.settings.page_store.generation_of_all(), purge).await
    }

    async fn purge_key(&self, key: &str, purge: Purge) -> Result<()> {
        self.settings.page_store.purge(key, purge, self.settings.clock.unix_time()).await
    }
}

impl std::fmt::Debug for PurgeHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PurgeHandle").finish_non_exhaustive()
    }
}
