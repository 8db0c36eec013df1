//! Caching of fragments of pages, for any template engine.

use std::fmt::Write;

use cache_core::{CacheHandle, Result, Timeout};
use sha2::{Digest, Sha256};

/// Returns the cache key of a fragment, made of its name and of everything that it varies on.
///
/// The order of `vary_on` matters. It must contain everything that changes the fragment, such as
/// the language and the user.
///
/// This is Django's `make_template_fragment_key`, except that different lists never have the same
/// key: each part is preceded by its length.
///
/// # Examples
///
/// ```
/// use cache_http::fragment_key;
///
/// let key = fragment_key("sidebar", &["de", "user:42"]);
/// assert!(key.starts_with("fragment.sidebar."));
/// assert_ne!(fragment_key("sidebar", &["x:", "y"]), fragment_key("sidebar", &["x", ":y"]));
/// ```
#[must_use]
pub fn fragment_key(name: &str, vary_on: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in std::iter::once(&name).chain(vary_on) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let readable: String =
        name.chars().filter(char::is_ascii_alphanumeric).take(MAX_NAME_CHARS).collect();
    let mut key = format!("fragment.{readable}.");
    for byte in &digest.finalize()[..16] {
        // Writing into a String never fails.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// The number of characters of the name that the key contains, so that an operator recognizes the
/// fragment.
const MAX_NAME_CHARS: usize = 40;

/// Extension of [`CacheHandle`] for fragments of pages.
pub trait Fragments {
    /// Returns the fragment. On a miss, calls `render` and stores its result.
    ///
    /// # Errors
    ///
    /// The outer result is an error if the cache fails. The inner result is the error of `render`,
    /// if it fails; nothing is stored then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_core::{CacheHandle, Settings};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// use cache_http::Fragments;
    /// use minijinja::{Environment, context};
    ///
    /// let mut templates = Environment::new();
    /// templates.add_template("news", "<ul>{% for n in news %}<li>{{ n }}{% endfor %}</ul>")?;
    /// templates.add_template("page", "<h1>Hello, {{ user }}</h1>{{ news|safe }}")?;
    ///
    /// let news = cache
    ///     .fragment("news", &["en"], Duration::from_secs(60), async || {
    ///         templates.get_template("news")?.render(context! { news => ["fresh"] })
    ///     })
    ///     .await??;
    /// let page = templates.get_template("page")?.render(context! { user => "Ada", news })?;
    /// assert_eq!(page, "<h1>Hello, Ada</h1><ul><li>fresh</ul>");
    /// # Ok(()) }
    /// ```
    fn fragment<E, F>(
        &self,
        name: &str,
        vary_on: &[&str],
        timeout: impl Into<Timeout>,
        render: impl FnOnce() -> F,
    ) -> impl Future<Output = Result<Result<String, E>>>
    where
        F: Future<Output = Result<String, E>>;

    /// Deletes a fragment. Returns `false` if it was not stored.
    ///
    /// # Errors
    ///
    /// Returns the error of the store if it fails.
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
    async fn fragment_is_rendered_once_for_each_list_that_it_varies_on() {
        let cache =
            CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
        let minute = Duration::from_secs(60);
        for (user, rendered, expected) in [("a", "1", "1"), ("a", "2", "1"), ("b", "3", "3")] {
            let got = cache
                .fragment("box", &[user], minute, async || Ok::<_, ()>(rendered.to_owned()))
                .await;
            assert_eq!(got.expect("store works").as_deref(), Ok(expected));
        }
        assert_eq!(cache.delete_fragment("box", &["a"]).await.ok(), Some(true));
        let got = cache.fragment("box", &["a"], minute, async || Err::<String, _>("broken")).await;
        assert_eq!(got.expect("store works"), Err("broken"));
    }

    #[test]
    fn key_of_any_name_is_short_and_printable() {
        let key = fragment_key(&"ä b\r\n".repeat(100), &["\0"]);
        assert!(key.len() < 100 && key.bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
    }

    proptest! {
        #[test]
        fn different_lists_never_have_the_same_key(
            one in proptest::collection::vec("[ab:]{0,3}", 0..4),
            other in proptest::collection::vec("[ab:]{0,3}", 0..4),
        ) {
            let key = |parts: &[String]| {
                fragment_key("n", &parts.iter().map(String::as_str).collect::<Vec<_>>())
            };
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }
    }
}
