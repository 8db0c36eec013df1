//! Deserializing settings, with errors for the author of the configuration.

use std::{error, fmt};

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, Visitor,
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value as Json};

use super::{did_you_mean, is_secret, redact, redact_setting};
use crate::{Error, ErrorKind, Result};

/// Deserializes settings. In errors, `place` precedes the name of the setting: `OPTIONS.`.
///
/// The names of settings may be in upper or lower case; those of the struct are in lower case.
/// Numbers and booleans may be written as strings, as in a URL or in the environment.
///
/// # Errors
///
/// Returns [`ErrorKind::Config`] with the setting, the value found and the value expected.
pub fn from_settings<T: DeserializeOwned>(place: &str, settings: &Map<String, Json>) -> Result<T> {
    from_settings_among(place, settings, &[])
}

/// Like [`from_settings`], but also suggests settings that belong elsewhere, for an unknown one.
pub(super) fn from_settings_among<T: DeserializeOwned>(
    place: &str,
    settings: &Map<String, Json>,
    others: &[&str],
) -> Result<T> {
    T::deserialize(Settings(settings)).map_err(|error| {
        let (setting, hint) = (format!("{place}{}", error.setting), error.similar_setting(others));
        Error::new(ErrorKind::Config, format!("{place}{error}{hint}")).with_setting(&setting)
    })
}

/// An error of a setting.
#[derive(Debug)]
struct SettingError {
    setting: String,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    /// `hint` follows the value found.
    Mismatch {
        found: String,
        expected: String,
        hint: String,
    },
    Unknown {
        known: &'static [&'static str],
    },
    Missing,
    Duplicate,
    Other(String),
}

impl SettingError {
    /// Adds the name of an enclosing setting to the path. The innermost one also sets the value
    /// found.
    fn within(mut self, name: &str, value: &Json) -> Self {
        if self.setting.is_empty() {
            self.setting = name.to_owned();
            if let Problem::Mismatch { found, .. } = &mut self.problem {
                *found = shown_value(name, value);
            }
        } else {
            self.setting = format!("{name}.{}", self.setting);
        }
        self
    }

    /// Suggests a setting for the last part of an unknown one, in upper case if that is.
    fn similar_setting(&self, others: &[&str]) -> String {
        let Problem::Unknown { known } = self.problem else { return String::new() };
        let name = self.setting.rsplit('.').next().unwrap_or_default();
        let known = known.iter().chain(others).copied();
        if name.contains(|c: char| c.is_lowercase()) {
            return did_you_mean(name, known);
        }
        let known: Vec<String> = known.map(str::to_ascii_uppercase).collect();
        did_you_mean(name, known.iter().map(String::as_str))
    }

    fn of(problem: Problem) -> Self {
        Self { setting: String::new(), problem }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Mismatch { found, expected, hint } => {
                write!(f, "{}: expected {expected}, found {found}{hint}", self.setting)
            }
            Problem::Unknown { known: [] } => {
                write!(f, "{}: unknown setting, expected none", self.setting)
            }
            Problem::Unknown { known } => {
                write!(f, "{}: unknown setting, expected one of {}", self.setting, known.join(", "))
            }
            Problem::Missing => write!(f, "{}: missing", self.setting),
            Problem::Duplicate => {
                write!(f, "{}: given twice, in upper and in lower case", self.setting)
            }
            Problem::Other(message) => write!(f, "{}: {}", self.setting, redact(message)),
        }
    }
}

impl error::Error for SettingError {}

impl de::Error for SettingError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::of(Problem::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = without_rust_types(&expected.to_string());
        Self::of(Problem::Mismatch { found: found.to_string(), expected, hint: String::new() })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let hint = did_you_mean(found, known.iter().copied());
        let known: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
        Self::of(Problem::Mismatch { found: found.into(), expected: known.join(" or "), hint })
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self { setting: field.into(), problem: Problem::Unknown { known } }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { setting: field.into(), problem: Problem::Missing }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { setting: field.into(), problem: Problem::Duplicate }
    }
}

/// Replaces the Rust types in serde's messages, which mean nothing to the author of a
/// configuration.
fn without_rust_types(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "an integer of at least 0",
        "a nonzero u64" => "an integer of at least 1",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        other => other,
    }
    .to_owned()
}

/// Returns a value as error messages show it: without secrets, and lists and tables without their
/// contents.
///
/// `name` is the name of the setting: a setting such as `password` is not shown at all.
///
/// # Examples
///
/// ```
/// use cache_core::config::shown_value;
///
/// assert_eq!(shown_value("pages", &serde_json::json!("redis://u:p@h")), "\"redis://***@h\"");
/// assert_eq!(shown_value("pages", &serde_json::json!([1, 2])), "a list of 2");
/// assert_eq!(shown_value("password", &serde_json::json!("lovelace")), "***");
/// ```
#[must_use]
pub fn shown_value(name: &str, value: &Json) -> String {
    match value {
        _ if is_secret(name) => "***".into(),
        Json::Array(list) => format!("a list of {}", list.len()),
        Json::Object(_) => "a table".into(),
        Json::String(text) => format!("{:?}", redact_setting(text)),
        plain => plain.to_string(),
    }
}

/// A table of settings, whose names may be in upper case.
struct Settings<'a>(&'a Map<String, Json>);

/// A nested table, whose names are not settings of cachette.
struct Table<'a>(&'a Map<String, Json>);

macro_rules! deserialize_as_map {
    ($($table:ident with $fold_case:expr;)+) => {
        $(impl<'de> Deserializer<'de> for $table<'_> {
            type Error = SettingError;

            fn deserialize_any<V>(self, visitor: V) -> Result<V::Value, SettingError>
            where
                V: Visitor<'de>,
            {
                let rest = self.0.iter();
                visitor.visit_map(Entries { rest, value: None, fold_case: $fold_case })
            }

            forward_to_deserialize_any! {
                bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
                option unit unit_struct newtype_struct seq tuple tuple_struct map struct enum
                identifier ignored_any
            }
        })+
    };
}

deserialize_as_map! {
    Settings with true;
    Table with false;
}

struct Entries<'a> {
    rest: serde_json::map::Iter<'a>,
    value: Option<(&'a str, &'a Json)>,
    fold_case: bool,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = SettingError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, SettingError> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some((name, value));
        let folded = if self.fold_case { name.to_ascii_lowercase() } else { name.clone() };
        let as_written = |error: SettingError| SettingError { setting: name.clone(), ..error };
        seed.deserialize(folded.into_deserializer()).map(Some).map_err(as_written)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, SettingError> {
        let (name, value) = self.value.take().expect("serde requests a key before its value");
        seed.deserialize(Setting(value)).map_err(|error| error.within(name, value))
    }
}

struct List<'a>(std::slice::Iter<'a, Json>);

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = SettingError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, SettingError> {
        self.0.next().map(|value| seed.deserialize(Setting(value))).transpose()
    }
}

struct Setting<'a>(&'a Json);

impl Setting<'_> {
    /// Returns a number, or a string that contains one, as a number.
    fn as_number(&self) -> Option<serde_json::Number> {
        match self.0 {
            Json::String(text) => text.trim().parse().ok(),
            Json::Number(number) => Some(number.clone()),
            _ => None,
        }
    }

    /// Like `as_number`, but returns a float without a fraction as an integer.
    fn as_integer(&self) -> Option<serde_json::Number> {
        let number = self.as_number()?;
        match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 => {
                format!("{float:.0}").parse().ok()
            }
            _ => Some(number),
        }
    }

    fn as_bool(&self) -> Option<bool> {
        match self.0.as_str()?.trim() {
            "true" | "True" | "1" => Some(true),
            "false" | "False" | "0" => Some(false),
            _ => None,
        }
    }
}

fn visit_number<'de, V: Visitor<'de>>(
    number: &serde_json::Number,
    visitor: V,
) -> Result<V::Value, SettingError> {
    if let Some(number) = number.as_u64() {
        visitor.visit_u64(number)
    } else if let Some(number) = number.as_i64() {
        visitor.visit_i64(number)
    } else {
        visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
    }
}

macro_rules! deserialize_numbers {
    ($as_number:ident: $($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
            match self.$as_number() {
                Some(number) => visit_number(&number, visitor),
                None => self.deserialize_any(visitor),
            }
        })+
    };
}

impl<'de> Deserializer<'de> for Setting<'_> {
    type Error = SettingError;

    deserialize_numbers! { as_integer:
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }
    deserialize_numbers! { as_number: deserialize_f32 deserialize_f64 }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        match self.0 {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(*value),
            Json::Number(number) => visit_number(number, visitor),
            Json::String(text) => visitor.visit_str(text),
            Json::Array(list) => visitor.visit_seq(List(list.iter())),
            Json::Object(table) => Table(table).deserialize_any(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        match self.as_bool() {
            Some(value) => visitor.visit_bool(value),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        match self.0 {
            Json::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, SettingError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingError> {
        match self.0 {
            Json::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            other => Err(de::Error::unknown_variant(&shown_value("", other), known)),
        }
    }

    /// Serde would also accept a list of the values.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingError> {
        match self.0 {
            Json::Object(table) => Settings(table).deserialize_any(visitor),
            other => {
                let found = shown_value("", other);
                Err(de::Error::invalid_type(Unexpected::Other(&found), &"a table"))
            }
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Shelf {
        width: u32,
        depth: Option<f64>,
        oak: bool,
        password: u8,
        colour: Colour,
        labels: Vec<u8>,
        lock: Option<Lock>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        #[default]
        Brown,
        White,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Lock {
        keys: u8,
    }

    fn shelf(settings: Json) -> Result<Shelf, String> {
        let Json::Object(settings) = settings else { panic!("a table") };
        from_settings("OPTIONS.", &settings).map_err(|error| error.to_string())
    }

    /// Asserts that the settings are invalid, and that the message names the setting and the facts.
    fn assert_invalid(settings: Json, setting: &str, facts: &[&str]) {
        let message = shelf(settings).expect_err("the settings are invalid");
        assert!(message.starts_with(&format!("OPTIONS.{setting}: ")), "{message}");
        assert!(facts.iter().all(|fact| message.contains(fact)), "{message}: {facts:?}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn strings_are_accepted_for_numbers_and_booleans() {
        let shelf = shelf(json!({"width": " 80 ", "depth": "30.5", "oak": "true"}));
        assert_eq!(
            shelf,
            Ok(Shelf { width: 80, depth: Some(30.5), oak: true, ..Shelf::default() })
        );
    }

    #[test]
    fn float_without_fraction_is_an_integer() {
        assert_eq!(shelf(json!({"width": 80.0})), Ok(Shelf { width: 80, ..Shelf::default() }));
        assert_invalid(json!({"width": 80.5}), "width", &["80.5", "of at least 0"]);
    }

    #[test]
    fn null_is_none_for_an_optional_setting() {
        assert_eq!(shelf(json!({"depth": null})), Ok(Shelf::default()));
    }

    #[test]
    fn type_mismatch_names_the_value_found_and_the_type_expected() {
        for (value, found) in [
            (json!("wide"), r#""wide""#),
            (json!(-3), "-3"),
            (json!(null), "null"),
            (json!([1, 2]), "a list of 2"),
            (json!({"a": 1}), "a table"),
        ] {
            assert_invalid(json!({ "width": value }), "width", &[found, "of at least 0"]);
        }
    }

    #[test]
    fn unknown_setting_lists_the_known_ones() {
        let known = "width, depth, oak, password, colour, labels, lock";
        assert_invalid(json!({"widht": 1}), "widht", &["unknown", known]);
    }

    #[test]
    fn invalid_choice_lists_the_choices() {
        for wrong in [json!("red"), json!(3)] {
            let facts = [&*wrong.to_string(), r#""brown" or "white""#];
            assert_invalid(json!({ "colour": wrong }), "colour", &facts);
        }
    }

    #[test]
    fn nested_setting_is_named_by_its_path() {
        assert_invalid(json!({"lock": {"keys": "many"}}), "lock.keys", &[r#""many""#]);
        assert_invalid(json!({"lock": {}}), "lock.keys", &["missing"]);
    }

    #[test]
    fn nested_names_may_be_in_upper_case() {
        let lock = Some(Lock { keys: 2 });
        assert_eq!(shelf(json!({"LOCK": {"KEYS": 2}})), Ok(Shelf { lock, ..Shelf::default() }));
        assert_invalid(json!({"LOCK": {"KEYS": "many"}}), "LOCK.KEYS", &[r#""many""#]);
    }

    #[test]
    fn table_cannot_be_a_list_of_its_values() {
        for (value, found) in [(json!([2]), "a list of 1"), (json!("x"), r#""x""#)] {
            assert_invalid(json!({ "lock": value }), "lock", &[found, "a table"]);
        }
    }

    #[test]
    fn upper_case_names_are_accepted_and_reported_as_written() {
        assert_eq!(shelf(json!({"WIDTH": 80})), Ok(Shelf { width: 80, ..Shelf::default() }));
        assert_invalid(json!({"WIDTH": null}), "WIDTH", &["null"]);
        assert_invalid(json!({"WIDHT": 1}), "WIDHT", &["unknown", "width"]);
        assert_invalid(json!({"WIDTH": 1, "width": 1}), "width", &["twice"]);
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_invalid(json!({"password": "hunter2"}), "password", &["***"]);
        let url = json!({"width": "db://ada:hunter2@host"});
        assert_invalid(url, "width", &[r#""db://***@host""#]);
    }
}
