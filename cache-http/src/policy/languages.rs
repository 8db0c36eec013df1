//! `Accept-Language`, reduced to the languages of a site.
//!
//! The language is chosen by lookup (RFC 4647, section 3.4; RFC 9110, section 12.5.4), with one
//! addition: if nothing matches `pt`, `pt-BR` does, because the visitor reads it.

use http::{HeaderMap, header::ACCEPT_LANGUAGE};

use crate::vary::combined_value;

/// A language range with its weight.
struct Range<'a> {
    range: &'a str,
    weight: f32,
}

/// Chooses the language for a request. If no language is acceptable, that is the first one.
///
/// `languages` must not be empty.
pub(super) fn negotiate<'a>(languages: &'a [String], headers: &HeaderMap) -> &'a str {
    let line = combined_value(headers, &ACCEPT_LANGUAGE).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let mut ranges: Vec<Range<'_>> = line.split(',').filter_map(Range::parse).collect();
    // The sort is stable: of two ranges with the same weight, the first one counts.
    ranges.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    let accepted_until = ranges.partition_point(|range| range.weight > 0.0);
    let (accepted, excluded) = ranges.split_at(accepted_until);
    let is_acceptable =
        |language: &&String| !excluded.iter().any(|range| includes(range.range, language));
    let acceptable = || languages.iter().filter(is_acceptable);
    let chosen = accepted.iter().find_map(|range| match range.range {
        "*" => acceptable().next(),
        range => lookup(range, acceptable),
    });
    chosen.or_else(|| acceptable().next()).or(languages.first()).map_or("", String::as_str)
}

impl<'a> Range<'a> {
    /// Parses a member of the header. An invalid weight counts as zero.
    fn parse(member: &'a str) -> Option<Self> {
        let (range, parameters) = member.split_once(';').unwrap_or((member, ""));
        let weight = match parameters.trim().split_once('=') {
            Some((name, weight)) if name.trim().eq_ignore_ascii_case("q") => {
                weight.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight))
            }
            Some(_) => None,
            None => Some(1.0),
        };
        let range = range.trim();
        (!range.is_empty()).then_some(Self { range, weight: weight.unwrap_or(0.0) })
    }
}

/// Shortens a range from its end until a language equals it.
fn lookup<'a, L>(range: &str, languages: impl Fn() -> L) -> Option<&'a String>
where
    L: Iterator<Item = &'a String>,
{
    let equal = |range: &str| languages().find(|language| language.eq_ignore_ascii_case(range));
    let more_specific = || languages().find(|language| includes(range, language));
    equal(range).or_else(more_specific).or_else(|| {
        std::iter::successors(shortened(range), |range| shortened(range)).find_map(equal)
    })
}

/// A range without its last subtag. A single character that introduces a subtag goes with it.
fn shortened(range: &str) -> Option<&str> {
    let (rest, _) = range.rsplit_once('-')?;
    match rest.rsplit_once('-') {
        Some((shorter, introduction)) if introduction.len() == 1 => Some(shorter),
        _ => Some(rest),
    }
}

/// Whether a range is a language or the beginning of it (RFC 4647, section 3.3.1).
fn includes(range: &str, language: &str) -> bool {
    match (language.get(..range.len()), language.as_bytes().get(range.len())) {
        (Some(start), None | Some(b'-')) => start.eq_ignore_ascii_case(range),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn chosen(languages: &[&str], line: &str) -> String {
        let languages: Vec<String> = languages.iter().copied().map(str::to_owned).collect();
        let line = HeaderValue::from_bytes(line.as_bytes()).expect("valid value");
        let headers = [(ACCEPT_LANGUAGE, line)].into_iter().collect();
        negotiate(&languages, &headers).to_owned()
    }

    #[test]
    fn acceptable_language_with_the_greatest_weight_is_chosen() {
        let chosen = |line| chosen(&["en", "de", "fr"], line);
        assert_eq!(chosen("de"), "de");
        assert_eq!(chosen("fr;q=0.5, de;q=0.9, en ; Q=0.1"), "de");
        assert_eq!(chosen("it, fr;q=0.5,de;q=0.5"), "fr");
        assert_eq!(chosen("FR-ca, de;q=0.9"), "fr");
    }

    #[test]
    fn first_language_is_chosen_if_none_is_acceptable() {
        let languages = ["en".to_owned(), "de".to_owned()];
        assert_eq!(negotiate(&languages, &HeaderMap::new()), "en");
        for line in
            ["", "it", "*", ";q=1", "de;q=0", "de;q=x", "de;q=2", "de;v=1", "en;q=0, de;q=0"]
        {
            assert_eq!(chosen(&["en", "de"], line), "en", "{line}");
        }
    }

    #[test]
    fn excluded_language_is_not_chosen() {
        assert_eq!(chosen(&["en", "de"], "en;q=0"), "de");
        assert_eq!(chosen(&["en", "de"], "*, en;q=0"), "de");
        assert_eq!(chosen(&["de-AT", "de-DE"], "de, de-AT;q=0"), "de-DE");
        assert_eq!(chosen(&["en", "de"], "en, en-US;q=0"), "en");
    }

    #[test]
    fn range_is_shortened_until_a_language_equals_it() {
        let chosen = |line| chosen(&["en", "zh-Hant", "zh", "pt-BR"], line);
        assert_eq!(chosen("zh-Hant-TW"), "zh-Hant");
        assert_eq!(chosen("zh-Hans-CN"), "zh");
        assert_eq!(chosen("zh-Hant-x-private"), "zh-Hant");
        assert_eq!(chosen("zhx"), "en");
        assert_eq!(chosen("pt"), "pt-BR");
        assert_eq!(chosen("pt-PT"), "en");
        assert_eq!(chosen("pt-PT, pt;q=0.9"), "pt-BR");
    }

    proptest! {
        #[test]
        fn any_header_gives_a_language_of_the_site(line in "[a-z*ü;q=0.19, -]{0,30}") {
            let languages = ["en", "de-AT", "ü"];
            let language = chosen(&languages, &line);
            prop_assert!(languages.contains(&&*language));
            prop_assert_eq!(chosen(&languages, &language), language);
        }
    }
}
