//! Keeps secrets out of messages. Where it is in doubt it hides too much.

const HIDDEN: &str = "***";

/// Whether a setting of this name holds a secret.
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

/// The text without the secrets in it: what stands before the `@` of an address, and the values of secret parameters of
/// a URL. For messages; see [`redact_setting`] for a value as a whole.
///
/// ```
/// use cache_core::config::redact;
///
/// assert_eq!(redact("no answer from redis://ada:lovelace@example.org/0"), "no answer from redis://***@example.org/0");
/// assert_eq!(redact("db://table?password=x&timeout=3"), "db://table?password=***&timeout=3");
/// ```
#[must_use]
pub fn redact(text: &str) -> String {
    text.split_inclusive(BETWEEN_WORDS).map(redact_setting).collect()
}

/// How messages write what would be right: hiding it would hide how it is written.
const PLACEHOLDER: &str = "user:password";

const BETWEEN_WORDS: [char; 6] = [' ', '\n', '\t', '"', '\'', '`'];

/// A setting's value without the secrets in it. A password may hold any character unescaped, so all up to the last `@` is
/// taken for one, wherever a `:` stands before it.
///
/// ```
/// use cache_core::config::redact_setting;
///
/// assert_eq!(redact_setting("redis://ada:love lace@example.org/0"), "redis://***@example.org/0");
/// assert_eq!(redact_setting("ada:lovelace@example.org"), "***@example.org");
/// ```
#[must_use]
pub fn redact_setting(value: &str) -> String {
    let mut shown = String::with_capacity(value.len());
    let mut rest = value;
    if let (Some(colon), Some(at)) = (value.find(':'), value.rfind('@'))
        && colon < at
    {
        let scheme = value.find("://").filter(|end| *end < at).map_or(0, |end| end + 3);
        let is_placeholder = &value[scheme..at] == PLACEHOLDER;
        shown.push_str(&value[..scheme]);
        shown.push_str(if is_placeholder { PLACEHOLDER } else { HIDDEN });
        rest = &value[at..];
    }
    for part in rest.split_inclusive(['?', '&']) {
        push_parameter(part, &mut shown);
    }
    shown
}

fn push_parameter(part: &str, shown: &mut String) {
    match part.split_once('=') {
        Some((name, value)) if is_secret(name) => {
            let after = value.len()
                - value.trim_end_matches(|c| c == '&' || BETWEEN_WORDS.contains(&c)).len();
            shown.push_str(name);
            shown.push('=');
            shown.push_str(HIDDEN);
            shown.push_str(&value[value.len() - after..]);
        }
        _ => shown.push_str(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_secrets_stays_as_it_is() {
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
    fn a_password_with_odd_characters_is_hidden_whole() {
        for password in ["p/w", "p?w=1", "p@w", "p,w", "p#w", "p:w"] {
            let shown = redact(&format!("cannot reach \"redis://u:{password}@host:1/0\" now"));
            assert_eq!(shown, "cannot reach \"redis://***@host:1/0\" now");
        }
        for password in ["p w", "p'w", "p\"w", "p`w", "p\nw"] {
            assert_eq!(
                redact_setting(&format!("redis://u:{password}@host:1/0")),
                "redis://***@host:1/0"
            );
        }
    }

    #[test]
    fn an_address_need_not_be_a_whole_url() {
        assert_eq!(redact("at redis:/ada:hunter2@host"), "at ***@host");
        assert_eq!(redact("at ada:hunter2@host:1/0"), "at ***@host:1/0");
    }

    #[test]
    fn the_last_parameter_keeps_what_follows_it() {
        assert_eq!(
            redact("see \"db://t?Access_Token=abc\" there"),
            "see \"db://t?Access_Token=***\" there"
        );
    }
}
