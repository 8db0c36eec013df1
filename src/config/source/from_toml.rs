//! Parses TOML.

use serde_json::{Map, Number, Value as Json};
use toml::{Table, Value};

pub(super) fn parse(text: &str) -> Result<Json, String> {
    let table: Table = text.parse().map_err(|error| describe(&error, text))?;
    json(Value::Table(table))
}

/// Describes an error by its line number.
///
/// The message of the crate `toml` quotes the line, which may contain a password.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let offset = error.span().map_or(0, |span| span.start);
    let line = text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {}", error.message())
}

fn json(value: Value) -> Result<Json, String> {
    Ok(match value {
        Value::String(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => match Number::from_f64(number) {
            Some(number) => number.into(),
            None => return Err(format!("found {number}, expected a finite number")),
        },
        Value::Boolean(truth) => truth.into(),
        Value::Datetime(time) => time.to_string().into(),
        Value::Array(list) => list.into_iter().map(json).collect::<Result<_, _>>()?,
        Value::Table(table) => {
            let entry = |(name, value)| Ok((name, json(value)?));
            table.into_iter().map(entry).collect::<Result<Map<_, _>, String>>()?.into()
        }
    })
}
