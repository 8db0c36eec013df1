//! Keeps secrets out of messages.

const HIDDEN: &str = "***";

/// Whether a setting of this name holds a secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passwd", "secret", "token", "credential", "api_key"].iter().any(|word| name.contains(word))
}

/// The text without the secrets of the URLs in it: user and password before an `@`, and the values of secret query
/// parameters.
///
/// ```
/// use cache_core::config::redact;
///
/// assert_eq!(redact("redis://ada:lovelace@example.org/0"), "redis://***@example.org/0");
/// assert_eq!(redact("db://table?password=x&timeout=3"), "db://table?password=***&timeout=3");
/// ```
#[must_use]
pub fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive([' ', '\n', '\t', '"', '\'', '`']) {
        push_redacted(word, &mut shown);
    }
    shown
}

/// A password may hold any character unescaped, so all up to the last `@` of the word is taken for one.
fn push_redacted(word: &str, shown: &mut String) {
    let mut rest = word;
    if let (Some(scheme), Some(at)) = (word.find("://"), word.rfind('@'))
        && scheme < at
    {
        shown.push_str(&word[..scheme + 3]);
        shown.push_str(HIDDEN);
        rest = &word[at..];
    }
    for part in rest.split_inclusive(['?', '&']) {
        match part.split_once('=') {
            Some((name, value)) if is_secret(name) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(HIDDEN);
                let after = value.find(['&', '?', ' ', '\n', '\t', '"', '\'', '`']).unwrap_or(value.len());
                shown.push_str(&value[after..]);
            }
            _ => shown.push_str(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_secrets_stays_as_it_is() {
        for text in ["", "locmem://pages?timeout=3", "write to ada@example.org", "a = b & c"] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn a_password_with_odd_characters_is_hidden_whole() {
        for password in ["p/w", "p?w=1", "p@w", "p,w", "p#w", "p:w"] {
            let shown = redact(&format!("cannot reach \"redis://u:{password}@host:1/0\" now"));
            assert_eq!(shown, "cannot reach \"redis://***@host:1/0\" now");
        }
    }

    #[test]
    fn the_last_parameter_keeps_what_follows_it() {
        assert_eq!(redact("see \"db://t?Access_Token=abc\" there"), "see \"db://t?Access_Token=***\" there");
    }
}
