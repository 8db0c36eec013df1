//! Pages made unreachable: those of a URI, of a tag, or all. Each costs one or two operations of the store, however many
//! pages there are.

use cache_core::{Error, ErrorKind, Result};
use http::Uri;

use crate::{HttpCache, Purge};

impl HttpCache {
    /// Purges every page of a URI, whatever it varies on and by whichever scheme and at whichever port it was asked for. The
    /// query counts as it is written.
    ///
    /// A page that is being made at the moment is not stored.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where the URI has no host and [`hosts`](Self::hosts) names none; and those of the store.
    pub async fn purge_uri(&self, uri: &str, purge: Purge) -> Result<()> {
        let config_error = |message: String| Error::new(ErrorKind::Config, message);
        let parsed: Uri =
            uri.parse().map_err(|error| config_error(format!("{uri:?} is no URI: {error}")))?;
        let Some(keys) = self.config.keying.generations(&parsed) else {
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
        self.purge_key(&self.config.keying.generation_of_tag(tag), purge).await
    }

    /// Purges every page of this cache and key prefix.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn purge_all(&self, purge: Purge) -> Result<()> {
        self.purge_key(self.config.shelf.generation_of_all(), purge).await
    }

    async fn purge_key(&self, key: &str, purge: Purge) -> Result<()> {
        self.config.shelf.purge(key, purge, self.config.clock.unix_time()).await
    }
}
