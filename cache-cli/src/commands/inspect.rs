//! The command `inspect`.

use std::{fmt::Write as _, time::Duration};

use cachette::{
    Bytes, CacheHandle, Freshness, InspectedEntry, InspectedTag, Inspection, Location, TagState,
    Ttl, Value,
};
use serde_json::{Map, Value as Json, json};

use super::Printer;
use crate::{
    Failure, Outcome, Result,
    args::Inspect,
    terminal::{self, HEADING, styled, visible},
};

/// How many characters of a value are printed without `--full`.
const MAX_CHARS: usize = 4000;

/// How many bytes are printed as hexadecimal digits without `--full`.
const MAX_BYTES: usize = 512;

/// Prints an entry, or what is known about an absent key, which is a miss.
pub(super) async fn inspect(
    cache: &CacheHandle,
    args: &Inspect,
    printer: Printer,
) -> Result<Outcome> {
    let inspection = if args.composed {
        cache.inspect_composed(&args.key).await?
    } else {
        cache.inspect(&args.key).await?
    };
    let value = inspection.entry.as_ref().map(|entry| ShownValue::new(entry, args.full));
    let report = Report { cache, args, inspection: &inspection, value: value.as_ref() };
    if printer.is_json() {
        terminal::print_json(&report.as_json())?;
    } else {
        terminal::print(report.as_text().trim_end())?;
    }
    Ok(Outcome::done_if(inspection.entry.is_some()))
}

/// A value as it is printed.
struct ShownValue {
    /// What it is: `map`, `text`, `bytes`.
    kind: &'static str,
    content: Content,
    /// How many characters or bytes were left out.
    omitted: usize,
}

enum Content {
    /// The value, and its text if it was shortened.
    Json(Json, Option<String>),
    /// Hexadecimal digits.
    Hex(String),
    /// Why it cannot be decoded, and its bytes in hexadecimal digits.
    Undecodable(Failure, String),
}

impl ShownValue {
    fn new(entry: &InspectedEntry, full: bool) -> Self {
        if entry.codec == "bytes"
            && let Ok(bytes) = entry.decode::<Bytes>()
        {
            return match str::from_utf8(&bytes) {
                Ok(text) => Self { kind: "bytes", ..Self::json(text.into(), full) },
                Err(_) => {
                    let (hex, omitted) = hex(&bytes, full);
                    Self { kind: "bytes", content: Content::Hex(hex), omitted }
                }
            };
        }
        match entry.decode::<Json>() {
            Ok(value) => Self::json(value, full),
            Err(error) => {
                let stored = match entry.value() {
                    Value::Bytes(bytes) => bytes.clone(),
                    _ => Bytes::new(),
                };
                let (hex, omitted) = hex(&stored, full);
                let content = Content::Undecodable(error.into(), hex);
                Self { kind: "unknown", content, omitted }
            }
        }
    }

    fn json(value: Json, full: bool) -> Self {
        let kind = match &value {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(number) if number.is_f64() => "float",
            Json::Number(_) => "integer",
            Json::String(_) => "text",
            Json::Array(_) => "list",
            Json::Object(_) => "map",
        };
        let text = format!("{value:#}");
        let shortened = if full { None } else { text.char_indices().nth(MAX_CHARS) };
        let omitted = shortened.map_or(0, |(end, _)| text[end..].chars().count());
        let shortened = shortened.map(|(end, _)| text[..end].to_owned());
        Self { kind, content: Content::Json(value, shortened), omitted }
    }
}

/// The first bytes as hexadecimal digits in groups of four bytes, and how many bytes were left out.
fn hex(bytes: &[u8], full: bool) -> (String, usize) {
    let shown = if full { bytes } else { &bytes[..bytes.len().min(MAX_BYTES)] };
    let mut digits = String::with_capacity(3 * shown.len());
    for (position, byte) in shown.iter().enumerate() {
        let separator = match position {
            0 => "",
            _ if position % 32 == 0 => "\n",
            _ if position % 4 == 0 => " ",
            _ => "",
        };
        // Writing to a string does not fail.
        let _ = write!(digits, "{separator}{byte:02x}");
    }
    (digits, bytes.len() - shown.len())
}

/// What is printed.
struct Report<'a> {
    cache: &'a CacheHandle,
    args: &'a Inspect,
    inspection: &'a Inspection,
    value: Option<&'a ShownValue>,
}

impl Report<'_> {
    fn place(&self) -> &[(String, String)] {
        self.inspection.location.as_ref().map_or(&[], |location| &location.place)
    }

    fn is_leased(&self) -> Option<bool> {
        self.inspection.location.as_ref().and_then(|location| location.is_leased)
    }

    fn size(&self) -> Option<u64> {
        let Location { size, .. } = self.inspection.location.as_ref()?;
        *size
    }

    fn as_text(&self) -> String {
        let mut lines = Lines::default();
        lines.add("key", &self.args.key);
        lines.add("composed key", &self.inspection.composed_key);
        let (alias, store) = (self.cache.alias(), self.cache.store().name());
        lines.add("cache", &format!("{alias} ({store})"));
        self.place().iter().for_each(|(name, value)| lines.add(name, value));
        if let Some(entry) = &self.inspection.entry {
            self.add_entry(&mut lines, entry);
        } else {
            lines.add("entry", "none: the key is absent or expired");
        }
        lines.add(
            "lease",
            match self.is_leased() {
                Some(true) => "held: somebody produces the value",
                Some(false) => "none",
                None => "unknown",
            },
        );
        if let Some(value) = self.value {
            add_value(&mut lines, value);
        }
        lines.0
    }

    fn add_entry(&self, lines: &mut Lines, entry: &InspectedEntry) {
        lines.add("type", self.value.map_or("unknown", |value| value.kind));
        lines.add(
            "codec",
            &match entry.format {
                Some(format) => format!("{} (entry format {format})", entry.codec),
                None => entry.codec.into(),
            },
        );
        if let Some(size) = self.size() {
            lines.add("size", &format!("{size} bytes"));
        }
        lines.add(
            "expires",
            &match entry.ttl {
                Ttl::Never => "never".into(),
                Ttl::Left(left) => format!("in {}", time(left)),
            },
        );
        if let Some(freshness) = &entry.freshness {
            lines.add("stored", &format!("{} ago", time(freshness.age)));
            lines.add("fresh", &fresh(freshness));
        }
        for (number, tag) in entry.tags.iter().enumerate() {
            let name = if number == 0 { "tags" } else { "" };
            lines.add(name, &format!("{} ({})", tag.name, tag_state(tag)));
        }
    }

    fn as_json(&self) -> Json {
        let place: Map<String, Json> =
            self.place().iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let entry = self.inspection.entry.as_ref();
        json!({
            "key": self.args.key,
            "composed_key": self.inspection.composed_key,
            "cache": self.cache.alias(),
            "store": self.cache.store().name(),
            "place": place,
            "leased": self.is_leased(),
            "hit": entry.is_some(),
            "entry": entry.zip(self.value).map(|(entry, value)| self.entry_as_json(entry, value)),
        })
    }

    fn entry_as_json(&self, entry: &InspectedEntry, shown: &ShownValue) -> Json {
        let ttl = match entry.ttl {
            Ttl::Never => None,
            Ttl::Left(left) => Some(left.as_secs_f64()),
        };
        let mut json = json!({
            "type": shown.kind,
            "codec": entry.codec,
            "format": entry.format,
            "size": self.size(),
            "ttl": ttl,
            "age": entry.freshness.map(|freshness| freshness.age.as_secs_f64()),
            "fresh": entry.freshness.and_then(|it| it.fresh).map(|fresh| fresh.as_secs_f64()),
            "stale": entry.freshness.is_some_and(|freshness| freshness.is_stale()),
            "tags": entry.tags.iter().map(tag_as_json).collect::<Vec<_>>(),
            "omitted": shown.omitted,
        });
        match &shown.content {
            Content::Json(value, None) => json["value"] = value.clone(),
            Content::Json(_, Some(start)) => json["start_of_value"] = json!(start),
            Content::Hex(hex) => json["hex"] = json!(hex.split_whitespace().collect::<String>()),
            Content::Undecodable(failure, hex) => {
                json["problem"] = json!(failure.message());
                json["hex"] = json!(hex.split_whitespace().collect::<String>());
            }
        }
        json
    }
}

fn add_value(lines: &mut Lines, value: &ShownValue) {
    let unit = match &value.content {
        Content::Json(_, Some(start)) => {
            lines.add("value", start);
            "characters"
        }
        Content::Json(value, None) => {
            lines.add("value", &format!("{value:#}"));
            "characters"
        }
        Content::Hex(hex) => {
            lines.add("hex", hex);
            "bytes"
        }
        Content::Undecodable(failure, hex) => {
            lines.add("problem", failure.message());
            failure.causes().iter().for_each(|cause| lines.add("caused by", cause));
            lines.add("hex", hex);
            "bytes"
        }
    };
    if value.omitted > 0 {
        lines.add("", &format!("… {} more {unit}: print them with --full", value.omitted));
    }
}

fn tag_state(tag: &InspectedTag) -> &'static str {
    match tag.state {
        Some(TagState::Current) => "current",
        Some(TagState::PurgedSoft) => "purged softly: the entry is stale",
        Some(TagState::PurgedHard) => "purged: the entry is missing",
        Some(TagState::Lost) => "its record was lost: the entry is missing",
        _ => "unknown: the entry has another KEY_PREFIX",
    }
}

fn tag_as_json(tag: &InspectedTag) -> Json {
    let state = match tag.state {
        Some(TagState::Current) => Some("current"),
        Some(TagState::PurgedSoft) => Some("purged_soft"),
        Some(TagState::PurgedHard) => Some("purged_hard"),
        Some(TagState::Lost) => Some("lost"),
        _ => None,
    };
    json!({"name": tag.name, "state": state})
}

/// The fresh time that is left, or since when the entry is stale.
fn fresh(freshness: &Freshness) -> String {
    match freshness.fresh {
        None => "until it expires".into(),
        Some(fresh) if freshness.is_stale() => {
            format!("no: stale for {}", time(freshness.age.saturating_sub(fresh)))
        }
        Some(fresh) => format!("for {}, then stale", time(fresh.saturating_sub(freshness.age))),
    }
}

/// A time as people say it: `4.2 s`, `3 min 20 s`, `2 d 5 h`.
fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Lines of names and values. The values are aligned, and safe for a terminal.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        const WIDTH: usize = 14;
        for (number, line) in value.split('\n').enumerate() {
            let name = if number == 0 { name } else { "" };
            let name = styled(HEADING, &format!("{name:WIDTH$}"));
            // Writing to a string does not fail.
            let _ = writeln!(self.0, "{name}{}", visible(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units_at_most() {
        for (seconds, expected) in [
            (0.25, "0.2 s"),
            (9.96, "10.0 s"),
            (59.0, "59 s"),
            (200.0, "3 min 20 s"),
            (7300.0, "2 h 1 min"),
            (190_000.0, "2 d 4 h"),
        ] {
            assert_eq!(time(Duration::from_secs_f64(seconds)), expected);
        }
    }

    #[test]
    fn long_value_is_shortened_between_characters() {
        let long = Json::from("ž".repeat(2 * MAX_CHARS));
        let shown = ShownValue::json(long.clone(), false);
        let Content::Json(_, Some(start)) = &shown.content else { panic!("not shortened") };
        assert_eq!(start.chars().count() + shown.omitted, 2 * MAX_CHARS + 2, "with quotes");
        assert_eq!(ShownValue::json(long, true).omitted, 0);
    }

    #[test]
    fn bytes_are_grouped_and_bounded() {
        assert_eq!(hex(b"", false), (String::new(), 0));
        assert_eq!(hex(b"\x00\xFFabc", false), ("00ff6162 63".into(), 0));
        assert_eq!(hex(&[0; 600], false).1, 600 - MAX_BYTES);
        assert_eq!(hex(&[0; 600], true).1, 0);
    }
}
