//! Many entries in one go.

use std::collections::HashMap;

use cachette::{CacheHandle, Timeout};
use serde_json::{Map, Value as Json, json};

use super::Say;
use crate::{Failure, Outcome, Result};

/// An object in the order of the keys as they were asked for. Where any is missing, that is a miss.
pub(super) async fn get(cache: &CacheHandle, keys: &[String], say: Say) -> Result<Outcome> {
    let mut found: HashMap<&str, Json> = cache.get_many(keys.iter().map(String::as_str)).await?;
    let missing: Vec<&String> =
        keys.iter().filter(|key| !found.contains_key(key.as_str())).collect();
    let values: Map<String, Json> =
        keys.iter().filter_map(|key| Some((key.clone(), found.remove(key.as_str())?))).collect();
    let outcome = Outcome::done_if(missing.is_empty());
    say.answer(
        Json::Object(values.clone()).to_string(),
        &json!({"values": values, "missing": missing}),
    )?;
    Ok(outcome)
}

pub(super) async fn set(
    cache: &CacheHandle,
    entries: &str,
    timeout: Timeout,
    say: Say,
) -> Result<Outcome> {
    let entries = object(entries)?;
    let refused = cache.set_many(&entries, timeout).await?;
    say.answer("", &json!({"stored": entries.len() - refused.len(), "rejected": refused}))?;
    if refused.is_empty() {
        return Ok(Outcome::Done);
    }
    let refused: Vec<String> = refused.iter().map(|key| format!("{key:?}")).collect();
    Err(Failure::new(format!("not stored, as the store refuses them: {}", refused.join(", "))))
}

fn object(argument: &str) -> Result<Map<String, Json>> {
    let problem = match serde_json::from_slice(&super::input(argument)?) {
        Ok(Json::Object(entries)) => return Ok(entries),
        Ok(_) => "what was given is no object".to_owned(),
        Err(error) => format!("what was given is no JSON: {error}"),
    };
    Err(Failure::new(problem).with_remedy(r#"write it as {"key": value, …}"#))
}

/// Where none of the keys was there, that is a miss.
pub(super) async fn delete(cache: &CacheHandle, keys: &[String], say: Say) -> Result<Outcome> {
    let removed = match keys {
        [key] => usize::from(cache.delete(key).await?),
        keys => cache.delete_many(keys).await?,
    };
    let text =
        if keys.len() > 1 { format!("deleted {removed} of {}", keys.len()) } else { String::new() };
    say.answer(text, &json!({"deleted": removed}))?;
    Ok(Outcome::done_if(removed > 0))
}
