//! Commands on several entries.

use std::collections::HashMap;

use cachette::{CacheHandle, Timeout};
use serde_json::{Map, Value as Json, json};

use super::Printer;
use crate::{Failure, Outcome, Result};

/// Prints an object in the order of the requested keys. One missing key makes it a miss.
pub(super) async fn get(cache: &CacheHandle, keys: &[String], printer: Printer) -> Result<Outcome> {
    let mut found: HashMap<&str, Json> = cache.get_many(keys.iter().map(String::as_str)).await?;
    let missing: Vec<&String> =
        keys.iter().filter(|key| !found.contains_key(key.as_str())).collect();
    let values: Map<String, Json> =
        keys.iter().filter_map(|key| Some((key.clone(), found.remove(key.as_str())?))).collect();
    let outcome = Outcome::done_if(missing.is_empty());
    printer.print(
        Json::Object(values.clone()).to_string(),
        &json!({"values": values, "missing": missing}),
    )?;
    super::note_misses(cache, missing.into_iter().map(String::as_str));
    Ok(outcome)
}

pub(super) async fn set(
    cache: &CacheHandle,
    entries: &str,
    timeout: Timeout,
    printer: Printer,
) -> Result<Outcome> {
    let entries = object(entries)?;
    let rejected = cache.set_many(&entries, timeout).await?;
    printer.print("", &json!({"stored": entries.len() - rejected.len(), "rejected": rejected}))?;
    if rejected.is_empty() {
        return Ok(Outcome::Done);
    }
    let rejected: Vec<String> = rejected.iter().map(|key| format!("{key:?}")).collect();
    Err(Failure::new(format!("the store rejected these keys: {}", rejected.join(", "))))
}

fn object(argument: &str) -> Result<Map<String, Json>> {
    let message = match serde_json::from_slice(&super::input(argument)?) {
        Ok(Json::Object(entries)) => return Ok(entries),
        Ok(_) => "the entries are not a JSON object".to_owned(),
        Err(error) => format!("the entries are not JSON: {error}"),
    };
    Err(Failure::new(message).with_help(r#"write them as {"key": value, …}"#))
}

/// Deletes entries. It is a miss if none of the keys existed.
pub(super) async fn delete(
    cache: &CacheHandle,
    keys: &[String],
    printer: Printer,
) -> Result<Outcome> {
    let deleted = match keys {
        [key] => usize::from(cache.delete(key).await?),
        keys => cache.delete_many(keys).await?,
    };
    let text =
        if keys.len() > 1 { format!("deleted {deleted} of {}", keys.len()) } else { String::new() };
    printer.print(text, &json!({"deleted": deleted}))?;
    if deleted == 0 {
        super::note_misses(cache, keys.iter().map(String::as_str));
    }
    Ok(Outcome::done_if(deleted > 0))
}
