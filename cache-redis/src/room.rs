//! What in a database is this cache's.

use std::{borrow::Cow, sync::Arc};

use parking_lot::Mutex;

/// The keys of a cache: what stands before them, and what `clear` may therefore remove.
#[derive(Debug)]
pub(crate) struct Room {
    namespace: String,
    extent: Extent,
    others: Rooms,
    database: String,
}

/// How far a cache reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The whole database.
    Database,
    /// Every key that begins so.
    Prefix(String),
    /// It can't be told from what others write.
    Unknown,
}

/// The prefixes of all caches of a configuration, each with its database: what begins with one that is longer is not of a
/// cache whose prefix is shorter.
pub(crate) type Rooms = Arc<Mutex<Vec<(String, String)>>>;

impl Room {
    /// `head` is what every key begins with, where that is known; `database` names the database among those of `others`.
    pub(crate) fn new(
        namespace: &str,
        whole: bool,
        head: Option<&str>,
        database: String,
        others: Rooms,
    ) -> Self {
        let extent = match (namespace, head) {
            _ if whole => Extent::Database,
            ("", Some(head)) if !head.is_empty() => Extent::Prefix(head.into()),
            ("", _) => Extent::Unknown,
            (namespace, _) => Extent::Prefix(namespace.into()),
        };
        if let Extent::Prefix(prefix) = &extent {
            let mine = (database.clone(), prefix.clone());
            let mut others = others.lock();
            if !others.contains(&mine) {
                others.push(mine);
            }
        }
        Self { namespace: namespace.into(), extent, others, database }
    }

    pub(crate) fn extent(&self) -> &Extent {
        &self.extent
    }

    /// The key as the server has it.
    pub(crate) fn key<'a>(&self, key: &'a str) -> Cow<'a, str> {
        if self.namespace.is_empty() {
            Cow::Borrowed(key)
        } else {
            Cow::Owned([&self.namespace, key].concat())
        }
    }

    /// The longer prefixes of other caches in the same database.
    pub(crate) fn exceptions(&self, prefix: &str) -> Vec<String> {
        let others = self.others.lock();
        let inside = others.iter().filter(|(database, other)| {
            *database == self.database && other.len() > prefix.len() && other.starts_with(prefix)
        });
        inside.map(|(_, other)| other.clone()).collect()
    }
}

/// The pattern of SCAN for keys that begin so.
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

    fn room(namespace: &str, head: Option<&str>, others: &Rooms) -> Room {
        Room::new(namespace, false, head, "h:1/0".into(), Arc::clone(others))
    }

    #[test]
    fn a_namespace_goes_before_a_prefix_and_without_either_nothing_is_known() {
        let others = Rooms::default();
        assert_eq!(room("shop|", Some("x:"), &others).extent(), &Extent::Prefix("shop|".into()));
        assert_eq!(room("", Some(":"), &others).extent(), &Extent::Prefix(":".into()));
        assert_eq!(room("", None, &others).extent(), &Extent::Unknown);
        assert_eq!(room("shop|", None, &others).key("k"), "shop|k");
    }

    #[test]
    fn what_begins_with_a_longer_prefix_in_the_same_database_is_another_cache_s() {
        let others = Rooms::default();
        let shop = room("", Some("shop:"), &others);
        room("", Some("shop:eu:"), &others);
        room("", Some("shopping:"), &others);
        Room::new("shop:x", false, None, "h:1/1".into(), Arc::clone(&others));
        assert_eq!(shop.exceptions("shop:"), ["shop:eu:"]);
    }

    #[test]
    fn a_prefix_means_itself_whatever_is_in_it() {
        assert_eq!(pattern("a*b?[c]\\:"), "a\\*b\\?\\[c\\]\\\\:*");
    }
}
