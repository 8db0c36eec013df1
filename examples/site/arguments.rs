//! What is typed behind `cargo run --example site --`.

use std::path::PathBuf;

const HOME: &str = env!("CARGO_MANIFEST_DIR");

const USAGE: &str = "\
usage: cargo run --example site -- [--listen ADDRESS] [--data FOLDER] [CONFIG]

  --listen ADDRESS  where to listen; 127.0.0.1:8080 unless told otherwise, and port 0 means any that is free
  --data FOLDER     where the database lies; target/site unless told otherwise
  CONFIG            the caches; examples/site/caches.toml unless told otherwise";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) listen: String,
    pub(crate) data: PathBuf,
    pub(crate) config: PathBuf,
}

impl Arguments {
    /// # Errors
    /// What is wrong with them, and how they are written.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut listen, mut data, mut config) = (None, None, None);
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (place, value) = match word.as_str() {
                "--listen" => (&mut listen, words.next()),
                "--data" => (&mut data, words.next()),
                option if option.starts_with('-') => {
                    return Err(wrong(&format!("there is no option {option}")));
                }
                _ => (&mut config, Some(word.clone())),
            };
            let value = value.ok_or_else(|| wrong(&format!("{word} wants a value")))?;
            if place.replace(value).is_some() {
                return Err(wrong(&format!("{word} is one too many")));
            }
        }
        let path = |given: Option<String>, usual: &str| {
            given.map_or_else(|| PathBuf::from(HOME).join(usual), Into::into)
        };
        Ok(Self {
            listen: listen.unwrap_or_else(|| "127.0.0.1:8080".into()),
            data: path(data, "target/site"),
            config: path(config, "examples/site/caches.toml"),
        })
    }
}

fn wrong(what: &str) -> String {
    format!("{what}\n{USAGE}")
}
