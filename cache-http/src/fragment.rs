//! Parts of pages, for any template engine.

use std::fmt::Write;

use cache_core::{CacheHandle, Result, Timeout};
use sha2::{Digest, Sha256};

/// The key of a fragment: its name, and all that it varies on, in this order. What Django calls
/// `make_template_fragment_key`; but here no two lists give one key, as each part has its length in front.
///
/// ```
/// use cache_http::fragment_key;
///
/// let key = fragment_key("sidebar", &["de", "user:42"]);
/// assert!(key.starts_with("fragment.sidebar."));
/// assert_ne!(fragment_key("sidebar", &["x:", "y"]), fragment_key("sidebar", &["x", ":y"]));
/// ```
///
/// The language, the user, and whatever else changes what the fragment shows, must be among the parts.
#[must_use]
pub fn fragment_key(name: &str, vary_on: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in std::iter::once(&name).chain(vary_on) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let shown: String =
        name.chars().filter(char::is_ascii_alphanumeric).take(MAX_NAME_CHARS).collect();
    let mut key = format!("fragment.{shown}.");
    for byte in &digest.finalize()[..16] {
        // Writing into a String never fails.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// So much of a fragment's name stands in its key, to be known by on a server.
const MAX_NAME_CHARS: usize = 40;

/// Fragments in a cache.
pub trait Fragments {
    /// The fragment, rendered if it is not there.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_core::{CacheHandle, Result, Settings};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    /// use cache_http::Fragments;
    /// use minijinja::{Environment, context};
    ///
    /// let mut templates = Environment::new();
    /// templates.add_template("news.html", "<ul>{% for line in news %}<li>{{ line }}{% endfor %}</ul>")?;
    /// templates.add_template("page.html", "<h1>Hello, {{ user }}</h1>{{ news|safe }}")?;
    ///
    /// let news = cache
    ///     .fragment("news", &["en"], Duration::from_secs(60), async || {
    ///         templates.get_template("news.html")?.render(context! { news => ["fresh"] })
    ///     })
    ///     .await??;
    /// let page = templates.get_template("page.html")?.render(context! { user => "Ada", news })?;
    /// assert_eq!(page, "<h1>Hello, Ada</h1><ul><li>fresh</ul>");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The outer result is the cache's, the inner one is `render`'s, whose error comes back as it is and stores nothing.
    fn fragment<E, F>(
        &self,
        name: &str,
        vary_on: &[&str],
        timeout: impl Into<Timeout>,
        render: impl FnOnce() -> F,
    ) -> impl Future<Output = Result<Result<String, E>>>
    where
        F: Future<Output = Result<String, E>>;

    /// Forgets a fragment, and says whether it was there.
    ///
    /// # Errors
    /// Those of the store.
    fn delete_fragment(
        &self,
        name: &str,
        vary_on: &[&str],
    ) -> impl Future<Output = Result<bool>> + Send;
}

impl Fragments for CacheHandle {
    async fn fragment<E, F>(
        &self,
        name: &str,
        vary_on: &[&str],
        timeout: impl Into<Timeout>,
        render: impl FnOnce() -> F,
    ) -> Result<Result<String, E>>
    where
        F: Future<Output = Result<String, E>>,
    {
        self.try_get_or_set(&fragment_key(name, vary_on), timeout, render).await
    }

    async fn delete_fragment(&self, name: &str, vary_on: &[&str]) -> Result<bool> {
        self.delete(&fragment_key(name, vary_on)).await
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use cache_core::Settings;
    use cache_locmem::LocMemCache;
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn a_fragment_is_rendered_once_for_each_list_it_varies_on() {
        let cache =
            CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
        let minute = Duration::from_secs(60);
        for (user, rendered, expected) in [("a", "1", "1"), ("a", "2", "1"), ("b", "3", "3")] {
            let got = cache
                .fragment("box", &[user], minute, async || Ok::<_, ()>(rendered.to_owned()))
                .await;
            assert_eq!(got.expect("the store works").as_deref(), Ok(expected));
        }
        assert_eq!(cache.delete_fragment("box", &["a"]).await.ok(), Some(true));
        let got = cache.fragment("box", &["a"], minute, async || Err::<String, _>("broken")).await;
        assert_eq!(got.expect("the store works"), Err("broken"));
    }

    #[test]
    fn a_key_is_one_that_every_store_takes_whatever_the_name() {
        let key = fragment_key(&"ä b\r\n".repeat(100), &["\0"]);
        assert!(key.len() < 100 && key.bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
    }

    proptest! {
        #[test]
        fn no_two_lists_give_one_key(
            one in proptest::collection::vec("[ab:]{0,3}", 0..4), other in proptest::collection::vec("[ab:]{0,3}", 0..4),
        ) {
            let key = |parts: &[String]| fragment_key("n", &parts.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }
    }
}
