//! One call of a store.

use std::{fmt, time::Duration};

use crate::Verb;

/// A call of a store, as a [`Recorder`](crate::Recorder) records it.
///
/// It compares equal to its `Display` form: the verb and the composed keys, separated by spaces.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use cache_core::Cache;
/// # use cache_locmem::LocMemCache;
/// use cache_testing::Recorder;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// let recorder = Recorder::new(Arc::new(LocMemCache::default()));
/// recorder.get_many(&["a", "b"]).await?;
/// assert_eq!(recorder.calls(), ["get_many a b"]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The method.
    pub verb: Verb,
    /// The composed keys; empty for methods that concern the whole store.
    pub keys: Vec<String>,
    /// The time to live of `set`, `add`, `touch`, `incr_or_set`, `get_and_touch`, `set_many` and
    /// `fill`. `None` if the entry never expires, and for other methods.
    pub ttl: Option<Duration>,
}

impl Call {
    pub(crate) fn new(verb: Verb) -> Self {
        Self { verb, keys: Vec::new(), ttl: None }
    }

    pub(crate) fn key(mut self, key: &str) -> Self {
        self.keys.push(key.into());
        self
    }

    pub(crate) fn keys<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.keys.extend(keys.into_iter().map(Into::into));
        self
    }

    pub(crate) fn ttl(mut self, ttl: Option<Duration>) -> Self {
        self.ttl = ttl;
        self
    }
}

/// Shows the verb and the keys, such as `set_many :1:a :1:b`.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verb)?;
        self.keys.iter().try_for_each(|key| write!(f, " {key}"))
    }
}

impl PartialEq<str> for Call {
    fn eq(&self, shown: &str) -> bool {
        let own = self.to_string();
        own == shown
    }
}

impl PartialEq<&str> for Call {
    fn eq(&self, shown: &&str) -> bool {
        *self == **shown
    }
}
