//! Which keys of a database belong to a cache.

use std::{borrow::Cow, sync::Arc};

use parking_lot::Mutex;

/// The keys of a cache: the prefix they have, and what `clear` may remove.
#[derive(Debug)]
pub(crate) struct Keyspace {
    namespace: String,
    scope: Scope,
    prefixes: Prefixes,
    database: String,
}

/// Which keys belong to a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All keys of the database.
    Database,
    /// The keys that begin with this prefix.
    Prefix(String),
    /// They cannot be distinguished from the keys of others.
    Unknown,
}

/// The prefixes of all caches of a configuration, each with its database. A key belongs to the
/// cache with the longest matching prefix.
pub(crate) type Prefixes = Arc<Mutex<Vec<(String, String)>>>;

impl Keyspace {
    /// `key_prefix` is the common prefix of the composed keys, if there is one. `database`
    /// identifies the database in `prefixes`.
    pub(crate) fn new(
        namespace: &str,
        owns_database: bool,
        key_prefix: Option<&str>,
        database: String,
        prefixes: Prefixes,
    ) -> Self {
        let scope = match (namespace, key_prefix) {
            _ if owns_database => Scope::Database,
            ("", Some(key_prefix)) if !key_prefix.is_empty() => Scope::Prefix(key_prefix.into()),
            ("", _) => Scope::Unknown,
            (namespace, _) => Scope::Prefix(namespace.into()),
        };
        if let Scope::Prefix(prefix) = &scope {
            let entry = (database.clone(), prefix.clone());
            let mut prefixes = prefixes.lock();
            if !prefixes.contains(&entry) {
                prefixes.push(entry);
            }
        }
        Self { namespace: namespace.into(), scope, prefixes, database }
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Prepends the namespace to a key.
    pub(crate) fn key<'a>(&self, key: &'a str) -> Cow<'a, str> {
        if self.namespace.is_empty() {
            Cow::Borrowed(key)
        } else {
            Cow::Owned([&self.namespace, key].concat())
        }
    }

    /// Lists the longer prefixes of other caches in the same database that begin with `prefix`.
    pub(crate) fn nested_prefixes(&self, prefix: &str) -> Vec<String> {
        let prefixes = self.prefixes.lock();
        let nested = prefixes.iter().filter(|(database, other)| {
            *database == self.database && other.len() > prefix.len() && other.starts_with(prefix)
        });
        nested.map(|(_, other)| other.clone()).collect()
    }
}

/// Converts a prefix into a pattern for SCAN.
pub(crate) fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyspace(namespace: &str, key_prefix: Option<&str>, prefixes: &Prefixes) -> Keyspace {
        Keyspace::new(namespace, false, key_prefix, "h:1/0".into(), Arc::clone(prefixes))
    }

    #[test]
    fn namespace_takes_precedence_over_key_prefix() {
        let prefixes = Prefixes::default();
        let scope =
            |namespace, key_prefix| keyspace(namespace, key_prefix, &prefixes).scope().clone();
        assert_eq!(scope("shop|", Some("x:")), Scope::Prefix("shop|".into()));
        assert_eq!(scope("", Some(":")), Scope::Prefix(":".into()));
        assert_eq!(scope("", None), Scope::Unknown);
        assert_eq!(keyspace("shop|", None, &prefixes).key("k"), "shop|k");
    }

    #[test]
    fn longer_prefix_in_the_same_database_belongs_to_another_cache() {
        let prefixes = Prefixes::default();
        let shop = keyspace("", Some("shop:"), &prefixes);
        keyspace("", Some("shop:eu:"), &prefixes);
        keyspace("", Some("shopping:"), &prefixes);
        Keyspace::new("shop:x", false, None, "h:1/1".into(), Arc::clone(&prefixes));
        assert_eq!(shop.nested_prefixes("shop:"), ["shop:eu:"]);
    }

    #[test]
    fn pattern_escapes_wildcards() {
        assert_eq!(pattern("a*b?[c]\\:"), "a\\*b\\?\\[c\\]\\\\:*");
    }
}
