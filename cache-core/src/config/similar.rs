//! Suggestions for misspelt names.

/// Returns `; did you mean "name"?` if `name` resembles one of the `known` names, for the end of an
/// error message. Otherwise, returns an empty string.
///
/// Names resemble each other if at most a third of their characters were mistyped, left out, added
/// or exchanged with their neighbour, as in the suggestions of rustc. Case is ignored.
///
/// # Examples
///
/// ```
/// use cache_core::config::did_you_mean;
///
/// assert_eq!(did_you_mean("pagse", ["default", "pages"]), "; did you mean \"pages\"?");
/// assert_eq!(did_you_mean("sessions", ["default", "pages"]), "");
/// ```
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let lower = name.to_lowercase();
    let max_distance = lower.chars().count().max(3) / 3;
    let similar = known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= max_distance)
        .min_by_key(|(distance, _)| *distance);
    similar.map(|(_, known)| format!("; did you mean {known:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_similar_name_is_suggested() {
        let known = ["max_entries", "pool_size", "pool_timeout", "db"];
        for (name, expected) in [
            ("max_entrys", "max_entries"),
            ("MAXENTRIES", "max_entries"),
            ("poolsize", "pool_size"),
            ("pool_timeuot", "pool_timeout"),
            ("bd", "db"),
        ] {
            assert_eq!(did_you_mean(name, known), format!("; did you mean {expected:?}?"));
        }
    }

    #[test]
    fn nothing_is_suggested_for_another_name() {
        for name in ["", "mongodb", "timeout", "x", "é"] {
            assert_eq!(did_you_mean(name, ["max_entries", "pool_size", "db"]), "", "{name}");
        }
    }
}
