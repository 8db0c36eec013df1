//! Removes secrets from messages. In doubt, it removes too much.

const REDACTED: &str = "***";

/// Returns whether a setting of this name holds a secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 11] = [
        "pass",
        "pwd",
        "secret",
        "token",
        "credential",
        "auth",
        "apikey",
        "api_key",
        "access_key",
        "private_key",
        "ssl_key",
    ];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Returns a message without the secrets in it.
///
/// Removes users and passwords before the `@` of an address, and the values of secret parameters of
/// a URL. Use [`redact_setting`] for the value of a setting.
///
/// # Examples
///
/// ```
/// use cache_core::config::redact;
///
/// assert_eq!(
///     redact("no reply from redis://ada:lovelace@example.org/0"),
///     "no reply from redis://***@example.org/0"
/// );
/// assert_eq!(redact("db://table?password=x&timeout=3"), "db://table?password=***&timeout=3");
/// ```
#[must_use]
pub fn redact(text: &str) -> String {
    text.split_inclusive(WORD_SEPARATORS).map(redact_setting).collect()
}

/// The user and password in examples of messages, which show how to write an address.
const PLACEHOLDER: &str = "user:password";

const WORD_SEPARATORS: [char; 6] = [' ', '\n', '\t', '"', '\'', '`'];

/// Returns the value of a setting without the secrets in it.
///
/// A password may contain any character unescaped. Therefore everything up to the last `@` counts
/// as one, if there is a `:` before it.
///
/// # Examples
///
/// ```
/// use cache_core::config::redact_setting;
///
/// assert_eq!(redact_setting("redis://ada:love lace@example.org/0"), "redis://***@example.org/0");
/// assert_eq!(redact_setting("ada:lovelace@example.org"), "***@example.org");
/// ```
#[must_use]
pub fn redact_setting(value: &str) -> String {
    let mut redacted = String::with_capacity(value.len());
    let mut rest = value;
    if let (Some(colon), Some(at)) = (value.find(':'), value.rfind('@'))
        && colon < at
    {
        let scheme = value.find("://").filter(|end| *end < at).map_or(0, |end| end + 3);
        let is_placeholder = &value[scheme..at] == PLACEHOLDER;
        redacted.push_str(&value[..scheme]);
        redacted.push_str(if is_placeholder { PLACEHOLDER } else { REDACTED });
        rest = &value[at..];
    }
    for part in rest.split_inclusive(['?', '&']) {
        push_parameter(part, &mut redacted);
    }
    redacted
}

fn push_parameter(part: &str, redacted: &mut String) {
    match part.split_once('=') {
        Some((name, value)) if is_secret(name) => {
            let after = value.len()
                - value.trim_end_matches(|c| c == '&' || WORD_SEPARATORS.contains(&c)).len();
            redacted.push_str(name);
            redacted.push('=');
            redacted.push_str(REDACTED);
            redacted.push_str(&value[value.len() - after..]);
        }
        _ => redacted.push_str(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_secrets_is_unchanged() {
        let example = "expected \"redis://user:password@host:6379/0\"";
        for text in [
            example,
            "",
            "locmem://pages?timeout=3",
            "write to ada@example.org",
            "a = b & c",
            "caches.toml: line 3",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn password_with_special_characters_is_redacted_completely() {
        for password in ["p/w", "p?w=1", "p@w", "p,w", "p#w", "p:w"] {
            let redacted = redact(&format!("cannot reach \"redis://u:{password}@host:1/0\" now"));
            assert_eq!(redacted, "cannot reach \"redis://***@host:1/0\" now");
        }
        for password in ["p w", "p'w", "p\"w", "p`w", "p\nw"] {
            assert_eq!(
                redact_setting(&format!("redis://u:{password}@host:1/0")),
                "redis://***@host:1/0"
            );
        }
    }

    #[test]
    fn address_without_a_scheme_is_redacted() {
        assert_eq!(redact("at redis:/ada:hunter2@host"), "at ***@host");
        assert_eq!(redact("at ada:hunter2@host:1/0"), "at ***@host:1/0");
    }

    #[test]
    fn text_after_the_last_parameter_is_kept() {
        assert_eq!(
            redact("see \"db://t?Access_Token=abc\" there"),
            "see \"db://t?Access_Token=***\" there"
        );
    }
}
