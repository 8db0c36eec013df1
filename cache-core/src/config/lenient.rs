//! Settings into structs, with errors for whoever wrote the settings.

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

use super::{is_secret, redact, redact_setting};
use crate::{Error, ErrorKind, Result};

/// Reads settings as a struct. `place` stands before the setting's name in an error: `OPTIONS.`.
///
/// Their names may be written in upper or lower case; the struct's are lower-case. Numbers and truth values may come as text, as in Django and as they do from a URL or the environment.
///
/// # Errors
/// [`ErrorKind::Config`] that names the setting, what was found and what would be right.
pub fn from_settings<T: DeserializeOwned>(place: &str, settings: &Map<String, Json>) -> Result<T> {
    T::deserialize(Settings(settings))
        .map_err(|mistake| Error::new(ErrorKind::Config, format!("{place}{mistake}")))
}

/// What is wrong, and with which setting.
#[derive(Debug)]
struct Mistake {
    setting: String,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Mismatch { found: String, expected: String },
    Unknown { known: &'static [&'static str] },
    Missing,
    Twice,
    Other(String),
}

impl Mistake {
    /// Puts the name of a setting before what is wrong with it; the innermost one also knows what was found.
    fn within(mut self, name: &str, value: &Json) -> Self {
        if self.setting.is_empty() {
            self.setting = name.to_owned();
            if let Problem::Mismatch { found, .. } = &mut self.problem {
                *found = show(name, value);
            }
        } else {
            self.setting = format!("{name}.{}", self.setting);
        }
        self
    }

    fn of(problem: Problem) -> Self {
        Self { setting: String::new(), problem }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Mismatch { found, expected } => {
                write!(f, "{}: found {found}, expected {expected}", self.setting)
            }
            Problem::Unknown { known: [] } => {
                write!(f, "{}: unknown, there are no settings here", self.setting)
            }
            Problem::Unknown { known } => {
                write!(f, "{}: unknown, expected one of {}", self.setting, known.join(", "))
            }
            Problem::Missing => write!(f, "{}: missing", self.setting),
            Problem::Twice => {
                write!(f, "{}: given twice, in upper and in lower case", self.setting)
            }
            Problem::Other(message) => write!(f, "{}: {}", self.setting, redact(message)),
        }
    }
}

impl error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::of(Problem::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = in_plain_words(&expected.to_string());
        Self::of(Problem::Mismatch { found: found.to_string(), expected })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let known: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
        Self::of(Problem::Mismatch { found: found.into(), expected: known.join(" or ") })
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self { setting: field.into(), problem: Problem::Unknown { known } }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { setting: field.into(), problem: Problem::Missing }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { setting: field.into(), problem: Problem::Twice }
    }
}

/// serde names Rust's types.
fn in_plain_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
        "a nonzero u64" => "a whole number of at least 1",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        "a map" => "a table",
        other => other,
    }
    .to_owned()
}

fn show(name: &str, value: &Json) -> String {
    match value {
        _ if is_secret(name) => "***".into(),
        Json::Array(list) => format!("a list of {}", list.len()),
        Json::Object(_) => "a table".into(),
        Json::String(text) => format!("{:?}", redact_setting(text)),
        plain => plain.to_string(),
    }
}

/// The outermost table: its names may be written in upper case.
struct Settings<'a>(&'a Map<String, Json>);

/// A table within, whose names are somebody else's.
struct Table<'a>(&'a Map<String, Json>);

macro_rules! deserialize_as_map {
    ($($table:ident with $fold_case:expr;)+) => {
        $(impl<'de> Deserializer<'de> for $table<'_> {
            type Error = Mistake;

            fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
                visitor.visit_map(Entries { rest: self.0.iter(), value: None, fold_case: $fold_case })
            }

            forward_to_deserialize_any! {
                bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
                unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
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
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some((name, value));
        let known_as = if self.fold_case { name.to_ascii_lowercase() } else { name.clone() };
        let as_written = |mistake: Mistake| Mistake { setting: name.clone(), ..mistake };
        seed.deserialize(known_as.into_deserializer()).map(Some).map_err(as_written)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mistake> {
        let (name, value) = self.value.take().expect("serde asks for a key before its value");
        seed.deserialize(Setting(value)).map_err(|mistake| mistake.within(name, value))
    }
}

struct List<'a>(std::slice::Iter<'a, Json>);

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Mistake;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Mistake> {
        self.0.next().map(|value| seed.deserialize(Setting(value))).transpose()
    }
}

struct Setting<'a>(&'a Json);

impl Setting<'_> {
    /// The text as a number, or the number as a whole one, where that loses nothing.
    fn as_number(&self) -> Option<serde_json::Number> {
        match self.0 {
            Json::String(text) => text.trim().parse().ok(),
            Json::Number(number) => Some(number.clone()),
            _ => None,
        }
    }

    fn as_whole(&self) -> Option<serde_json::Number> {
        let number = self.as_number()?;
        match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 => {
                format!("{float:.0}").parse().ok()
            }
            _ => Some(number),
        }
    }

    fn as_truth(&self) -> Option<bool> {
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
) -> Result<V::Value, Mistake> {
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
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            match self.$as_number() {
                Some(number) => visit_number(&number, visitor),
                None => self.deserialize_any(visitor),
            }
        })+
    };
}

impl<'de> Deserializer<'de> for Setting<'_> {
    type Error = Mistake;

    deserialize_numbers! { as_whole:
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64
    }
    deserialize_numbers! { as_number: deserialize_f32 deserialize_f64 }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Json::Null => visitor.visit_unit(),
            Json::Bool(truth) => visitor.visit_bool(*truth),
            Json::Number(number) => visit_number(number, visitor),
            Json::String(text) => visitor.visit_str(text),
            Json::Array(list) => visitor.visit_seq(List(list.iter())),
            Json::Object(table) => Table(table).deserialize_any(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.as_truth() {
            Some(truth) => visitor.visit_bool(truth),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Json::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.0 {
            Json::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            other => Err(de::Error::unknown_variant(&show("", other), known)),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

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

    fn mistake_in(settings: Json) -> String {
        shelf(settings).expect_err("it is a mistake")
    }

    #[test]
    fn numbers_and_truth_values_may_come_as_text() {
        let shelf = shelf(serde_json::json!({"width": " 80 ", "depth": "30.5", "oak": "true"}));
        assert_eq!(
            shelf,
            Ok(Shelf { width: 80, depth: Some(30.5), oak: true, ..Shelf::default() })
        );
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        assert_eq!(
            shelf(serde_json::json!({"width": 80.0})),
            Ok(Shelf { width: 80, ..Shelf::default() })
        );
        assert_eq!(
            mistake_in(serde_json::json!({"width": 80.5})),
            "OPTIONS.width: found 80.5, expected a whole number of at least 0"
        );
    }

    #[test]
    fn a_null_is_no_value_where_there_may_be_none() {
        assert_eq!(shelf(serde_json::json!({"depth": null})), Ok(Shelf::default()));
    }

    #[test]
    fn a_wrong_type_is_told_with_what_was_found_and_what_would_be_right() {
        for (value, found) in [
            (serde_json::json!("wide"), r#""wide""#),
            (serde_json::json!(-3), "-3"),
            (serde_json::json!(null), "null"),
            (serde_json::json!([1, 2]), "a list of 2"),
            (serde_json::json!({"a": 1}), "a table"),
        ] {
            let expected =
                format!("OPTIONS.width: found {found}, expected a whole number of at least 0");
            assert_eq!(mistake_in(serde_json::json!({ "width": value })), expected);
        }
    }

    #[test]
    fn an_unknown_setting_is_told_with_the_known_ones() {
        assert_eq!(
            mistake_in(serde_json::json!({"widht": 1})),
            "OPTIONS.widht: unknown, expected one of width, depth, oak, password, colour, labels, lock"
        );
    }

    #[test]
    fn a_choice_is_told_with_the_choices() {
        for wrong in [serde_json::json!("red"), serde_json::json!(3)] {
            let found = wrong.to_string();
            let expected =
                format!("OPTIONS.colour: found {found}, expected \"brown\" or \"white\"");
            assert_eq!(mistake_in(serde_json::json!({ "colour": wrong })), expected);
        }
    }

    #[test]
    fn a_setting_within_a_setting_is_named_with_its_path() {
        assert_eq!(
            mistake_in(serde_json::json!({"lock": {"keys": "many"}})),
            "OPTIONS.lock.keys: found \"many\", expected a whole number of at least 0"
        );
        assert_eq!(mistake_in(serde_json::json!({"lock": {}})), "OPTIONS.lock.keys: missing");
    }

    #[test]
    fn names_may_be_in_upper_case_and_are_told_as_they_were_written() {
        assert_eq!(
            shelf(serde_json::json!({"WIDTH": 80})),
            Ok(Shelf { width: 80, ..Shelf::default() })
        );
        assert_eq!(
            mistake_in(serde_json::json!({"WIDTH": null})),
            "OPTIONS.WIDTH: found null, expected a whole number of at least 0"
        );
        assert!(
            mistake_in(serde_json::json!({"WIDHT": 1}))
                .starts_with("OPTIONS.WIDHT: unknown, expected one of")
        );
        let twice = mistake_in(serde_json::json!({"WIDTH": 1, "width": 1}));
        assert_eq!(twice, "OPTIONS.width: given twice, in upper and in lower case");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let message = mistake_in(serde_json::json!({"password": "hunter2"}));
        assert_eq!(message, "OPTIONS.password: found ***, expected a whole number of at least 0");
        let message = mistake_in(serde_json::json!({"width": "db://ada:hunter2@host"}));
        assert_eq!(
            message,
            "OPTIONS.width: found \"db://***@host\", expected a whole number of at least 0"
        );
    }
}
