//! Stores that aliases share.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::{StoreConfig, from_settings, invalid_setting, shown_value};
use crate::{Error, Result};

/// The stores that a [`Backend`](super::Backend) has created, by the place of their entries.
///
/// Aliases that name the same place share a store, and therefore its options. An alias may leave
/// out options that the other one states: the `Caches` of the crate `cachette` open aliases with
/// more options first.
///
/// # Examples
///
/// ```
/// use cache_core::config::{SharedStores, StoreConfig};
///
/// #[derive(PartialEq, serde::Deserialize)]
/// #[serde(default)]
/// struct ShelfOptions {
///     width: usize,
/// }
/// # impl Default for ShelfOptions {
/// #     fn default() -> Self { Self { width: 80 } }
/// # }
///
/// let stores = SharedStores::default();
/// let open = |alias, options: serde_json::Value| {
///     let config = StoreConfig::new(alias, options.as_object().cloned().unwrap_or_default());
///     let options: ShelfOptions = config.options()?;
///     stores.get_or_create(&config, "north", options, |options| Ok(vec![0; options.width]))
/// };
/// let wide = open("wide", serde_json::json!({"width": 120}))?;
/// let same = open("same", serde_json::json!({}))?;
/// assert!(std::sync::Arc::ptr_eq(&wide, &same));
///
/// let error = open("narrow", serde_json::json!({"width": 40})).unwrap_err().to_string();
/// assert!(error.contains("OPTIONS.width") && error.contains("\"wide\""));
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug)]
pub struct SharedStores<P, O, C> {
    by_place: Mutex<HashMap<P, Shared<O, C>>>,
}

#[derive(Debug)]
struct Shared<O, C> {
    options: O,
    store: Arc<C>,
    /// The alias that was opened first, and its OPTIONS as they were written.
    alias: String,
    stated: Map<String, Json>,
}

impl<P, O, C> Default for SharedStores<P, O, C> {
    fn default() -> Self {
        Self { by_place: Mutex::default() }
    }
}

impl<P: Eq + Hash, O: PartialEq + DeserializeOwned, C> SharedStores<P, O, C> {
    /// Returns the store at this place. Calls `create` if there is none yet.
    ///
    /// `options` are those of `config`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](crate::ErrorKind::Config) if `config` states an option that
    /// the store was created without or with another value. The message names the option and the
    /// alias for which the store was created. Returns the errors of `create`.
    pub fn get_or_create(
        &self,
        config: &StoreConfig,
        place: P,
        options: O,
        create: impl FnOnce(&O) -> Result<C>,
    ) -> Result<Arc<C>> {
        match self.by_place.lock().unwrap_or_else(PoisonError::into_inner).entry(place) {
            Entry::Vacant(vacant) => {
                let store = Arc::new(create(&options)?);
                let (alias, stated) = (config.alias.clone(), config.options.clone());
                let shared = Shared { options, store, alias, stated };
                Ok(Arc::clone(&vacant.insert(shared).store))
            }
            Entry::Occupied(occupied) => {
                let shared = occupied.get();
                match shared.conflict(&options, &config.options) {
                    Some(conflict) => Err(conflict),
                    None => Ok(Arc::clone(&shared.store)),
                }
            }
        }
    }
}

impl<O: PartialEq + DeserializeOwned, C> Shared<O, C> {
    /// The error for the first option of another alias that differs from those of this store.
    fn conflict(&self, options: &O, stated: &Map<String, Json>) -> Option<Error> {
        if self.options == *options {
            return None;
        }
        let (name, value) = stated
            .iter()
            .filter(|(_, value)| !value.is_null())
            .find(|(name, value)| !means_the_same::<O>(name, value, self.stated(name)))?;
        let expected = match self.stated(name) {
            Some(value) => shown_value(name, value),
            None => "no value".into(),
        };
        let expected = format!(
            "{expected} as in cache {:?}, which has the same LOCATION, or another LOCATION",
            self.alias
        );
        Some(invalid_setting(&format!("OPTIONS.{name}"), &shown_value(name, value), &expected))
    }

    fn stated(&self, name: &str) -> Option<&Json> {
        let same_name = |(other, value): &(&String, &Json)| {
            other.eq_ignore_ascii_case(name) && !value.is_null()
        };
        self.stated.iter().find(same_name).map(|(_, value)| value)
    }
}

/// Returns whether two values of an option mean the same, as `5` and `"5"` do, or the default and
/// the absence of a value.
fn means_the_same<O: PartialEq + DeserializeOwned>(
    name: &str,
    value: &Json,
    other: Option<&Json>,
) -> bool {
    let parse = |value: Option<&Json>| {
        let option = value.map(|value| (name.to_owned(), value.clone()));
        from_settings::<O>("", &option.into_iter().collect())
    };
    match (parse(Some(value)), parse(other)) {
        (Ok(options), Ok(others)) => options == others,
        // Another option is required, so this one cannot be deserialized alone.
        _ => other == Some(value),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(default)]
    struct ShelfOptions {
        width: u32,
        depth: Option<f64>,
        password: String,
    }

    impl Default for ShelfOptions {
        fn default() -> Self {
            Self { width: 80, depth: None, password: String::new() }
        }
    }

    #[derive(PartialEq, Deserialize)]
    struct Lock {
        keys: u32,
        #[serde(default)]
        bolts: u32,
    }

    /// Opens two aliases at the same place. Returns the error of the second one.
    fn conflict<O: PartialEq + DeserializeOwned>(first: Json, second: Json) -> Option<String> {
        let stores = SharedStores::default();
        let open = |alias: &str, options: Json| {
            let Json::Object(options) = options else { panic!("a table") };
            let config = StoreConfig::new(alias, options);
            stores.get_or_create(&config, (), config.options::<O>().expect("valid"), |_| Ok(()))
        };
        open("first", first).expect("the first alias creates the store");
        open("second", second).err().map(|error| error.to_string())
    }

    #[test]
    fn alias_shares_the_options_that_it_does_not_state() {
        for second in [json!({}), json!({"depth": 2}), json!({"DEPTH": "2.0", "WIDTH": null})] {
            let first = json!({"width": 120, "depth": 2});
            assert_eq!(conflict::<ShelfOptions>(first, second), None);
        }
        let default = json!({"width": 80});
        assert_eq!(conflict::<ShelfOptions>(json!({"depth": 2}), default), None);
    }

    #[test]
    fn option_that_differs_is_named_with_both_values_and_the_other_alias() {
        for (first, second, setting, facts) in [
            (json!({"width": 120}), json!({"WIDTH": 40}), "WIDTH", ["expected 120 ", "found 40"]),
            (json!({}), json!({"depth": 2}), "depth", ["expected no value ", "found 2"]),
            (
                json!({"depth": 2}),
                json!({"depth": "2", "width": 40}),
                "width",
                ["expected no value ", "found 40"],
            ),
            (
                json!({"password": "lovelace"}),
                json!({"password": "hopper"}),
                "password",
                ["expected *** ", "found ***"],
            ),
        ] {
            let message = conflict::<ShelfOptions>(first, second).expect("a conflict");
            assert!(message.starts_with(&format!("OPTIONS.{setting}: ")), "{message}");
            assert!(message.contains("cache \"first\""), "{message}");
            assert!(facts.iter().all(|fact| message.contains(fact)), "{message}");
        }
    }

    #[test]
    fn options_that_require_others_are_compared_as_written() {
        let first = || json!({"keys": 1, "bolts": 2});
        assert_eq!(conflict::<Lock>(first(), json!({"keys": 1})), None);
        let message = conflict::<Lock>(first(), json!({"keys": 1, "bolts": 3})).expect("conflict");
        assert!(message.starts_with("OPTIONS.bolts: "), "{message}");
    }
}
