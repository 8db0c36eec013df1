//! The panel at the end of HTML pages.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use cache_core::observe::{Outcome, TracedCall};
use http::{Method, Uri};

use super::calls::{CacheCalls, Summary, milliseconds};

/// The number of operations that are shown.
const MAX_ROWS: usize = 200;
/// The number of keys of an operation that are shown.
const MAX_KEYS: usize = 10;
/// The number of characters of a key that are shown.
const MAX_KEY_CHARS: usize = 250;

const STYLE: &str = include_str!("panel.css");

/// Renders the panel.
///
/// It is in a shadow tree, so that its style and that of the page do not affect each other. All of
/// it is ASCII, because the page may be in another encoding than UTF-8. There are no `style`
/// attributes, which no nonce permits.
pub(super) fn render(
    calls: &CacheCalls,
    method: &Method,
    uri: &Uri,
    nonce: Option<&str>,
) -> String {
    let mut html = String::new();
    // Writing into a String never fails.
    let _ = write_panel(&mut html, calls, method, uri, nonce);
    html
}

fn write_panel(
    html: &mut String,
    calls: &CacheCalls,
    method: &Method,
    uri: &Uri,
    nonce: Option<&str>,
) -> fmt::Result {
    let total = calls.elapsed();
    let (list, omitted) = (calls.trace().calls(), calls.trace().omitted());
    let summary = Summary::of(&list, omitted);
    html.write_str("<cachette-calls><template shadowrootmode=\"open\"><style")?;
    if let Some(nonce) = nonce {
        write!(html, " nonce=\"{}\"", Escaped(nonce))?;
    }
    write!(html, ">{STYLE}</style><details><summary><b>Caches</b> {summary}, ")?;
    write!(html, "{}</summary>", Time(summary.time))?;
    html.write_str(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Cache calls\" tabindex=\"0\">\
         <p class=\"blocked\">The Content-Security-Policy of this page forbids the style of this \
         panel. Allow it with a nonce in <code>style-src</code>.</p>",
    )?;
    let (method, uri) = (Escaped(method.as_str()), uri.to_string());
    write!(html, "<p>{method} {} in {}: ", Escaped(&uri), Time(total))?;
    write!(html, "misses: {}, errors: {}.", summary.misses, summary.errors)?;
    if list.is_empty() {
        html.write_str(" Caches report their calls if they are configured with OBSERVE = true.")?;
    }
    html.write_str("</p>")?;
    let shown = list.len().min(MAX_ROWS);
    if list.len() + omitted > shown {
        let all = list.len() + omitted;
        write!(html, "<p class=\"cut\">Only the first {shown} of {all} operations are shown.</p>")?;
    }
    if shown > 0 {
        html.write_str(TABLE)?;
        for call in &list[..shown] {
            write_row(html, call, total)?;
        }
        html.write_str("</tbody></table>")?;
    }
    html.write_str("</div></details></template></cachette-calls>")
}

// A small screen shows rows as blocks, which takes their roles away in some browsers.
const TABLE: &str = "<table role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\">\
    <th role=\"columnheader\">Operation</th><th role=\"columnheader\">Keys</th>\
    <th role=\"columnheader\">Outcome</th><th role=\"columnheader\" class=\"number\">Bytes</th>\
    <th role=\"columnheader\" class=\"number\">Began</th>\
    <th role=\"columnheader\" class=\"number\">Took</th></tr></thead><tbody role=\"rowgroup\">";

fn write_row(html: &mut String, call: &TracedCall, total: Duration) -> fmt::Result {
    html.write_str("<tr role=\"row\"><td role=\"cell\">")?;
    if call.depth > 0 {
        let depth = call.depth;
        let marks = "&rsaquo;".repeat(depth.min(8));
        write!(html, "<span class=\"level\" aria-hidden=\"true\">{marks} </span>")?;
        write!(html, "<span class=\"hidden\">level {depth} </span>")?;
    }
    html.write_str(call.operation.name())?;
    write!(html, "<span class=\"store\">{} ({})", Escaped(&call.cache), Escaped(&call.store))?;
    html.write_str("</span></td><td role=\"cell\" class=\"keys\">")?;
    for key in call.keys.iter().take(MAX_KEYS) {
        write!(html, "<code>{}</code>", Shortened(key))?;
    }
    if call.key_count > MAX_KEYS {
        write!(html, "and {} more", call.key_count - call.keys.len().min(MAX_KEYS))?;
    }
    let (class, outcome) = (class(call.outcome), call.outcome.name().replace('_', " "));
    write!(html, "</td><td role=\"cell\" class=\"outcome {class}\">{outcome}")?;
    if call.key_count > 1 && call.operation.is_lookup() {
        write!(html, " {}/{}", call.hits, call.key_count)?;
    }
    if let Some(error) = call.error {
        write!(html, " ({error:?})")?;
    }
    html.write_str("</td><td role=\"cell\" class=\"number size\">")?;
    if let Some(size) = call.size {
        write!(html, "{size}")?;
    }
    write!(html, "</td><td role=\"cell\" class=\"number start\">{}</td>", Time(call.began_at))?;
    html.write_str("<td role=\"cell\" class=\"number\">")?;
    match call.took {
        Some(took) => write!(html, "{}", Time(took))?,
        None => html.write_str("&ndash;")?,
    }
    write_bar(html, call, total)?;
    html.write_str("</td></tr>")
}

/// When a call was running, as a part of the time of the request.
fn write_bar(html: &mut String, call: &TracedCall, total: Duration) -> fmt::Result {
    let percent = |time: Duration| {
        let total = total.as_secs_f64();
        if total > 0.0 { (time.as_secs_f64() / total * 100.0).min(100.0) } else { 0.0 }
    };
    let (start, width) = (percent(call.began_at), percent(call.took.unwrap_or_default()));
    html.write_str(
        "<svg viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
    )?;
    write!(html, "<rect x=\"{start:.1}\" width=\"{:.1}\" height=\"1\"/></svg>", width.max(1.0))
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Hit | Outcome::Ok | Outcome::Stored => "good",
        Outcome::Error | Outcome::Failed | Outcome::Panicked => "bad",
        _ => "warn",
    }
}

/// A duration in milliseconds with three digits or more.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = milliseconds(self.0);
        let precision = match milliseconds {
            ..1.0 => 3,
            ..100.0 => 2,
            _ => 0,
        };
        write!(f, "{milliseconds:.precision$}&nbsp;ms")
    }
}

/// A text in HTML, in ASCII. Control characters are shown as Rust escapes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| escape(character, f))
    }
}

/// A key that is cut after 250 characters.
struct Shortened<'a>(&'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        characters.by_ref().take(MAX_KEY_CHARS).try_for_each(|character| escape(character, f))?;
        match characters.next() {
            Some(_) => f.write_str("&hellip;"),
            None => Ok(()),
        }
    }
}

fn escape(character: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match character {
        '&' | '<' | '>' | '"' | '\'' => write!(f, "&#{};", u32::from(character)),
        ' '..='~' => f.write_char(character),
        _ if character.is_control() => write!(f, "{}", character.escape_default()),
        _ => write!(f, "&#{};", u32::from(character)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_ascii() {
        let escaped = Escaped("<b a=\"'&\u{e4}\u{202e}\n\0").to_string();
        assert_eq!(escaped, "&#60;b a=&#34;&#39;&#38;&#228;&#8238;\\n\\u{0}");
        assert!(STYLE.is_ascii() && !STYLE.contains("</"));
    }

    #[test]
    fn long_key_is_cut() {
        assert_eq!(Shortened(&"k".repeat(250)).to_string(), "k".repeat(250));
        assert_eq!(Shortened(&"k".repeat(251)).to_string(), "k".repeat(250) + "&hellip;");
    }
}
