//! The command-line arguments, after `cargo run --example site --`.

use std::path::PathBuf;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const USAGE: &str = "\
usage: cargo run --example site -- [--listen ADDRESS] [--data DIRECTORY] [--debug] [CONFIG]

  --listen ADDRESS  the address to listen on, 127.0.0.1:8080 by default; port 0 selects a free port
  --data DIRECTORY  the directory of the database, target/site by default
  --debug           show on each page what it did with the caches; not in release builds
  CONFIG            the configuration of the caches, examples/site/caches.toml by default";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) listen: String,
    pub(crate) data: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) debug: bool,
}

impl Arguments {
    /// # Errors
    ///
    /// Returns the first problem and the usage.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut listen, mut data, mut config, mut debug) = (None, None, None, false);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "--debug" {
                debug = true;
                continue;
            }
            let (target, value) = match argument.as_str() {
                "--listen" => (&mut listen, arguments.next()),
                "--data" => (&mut data, arguments.next()),
                option if option.starts_with('-') => {
                    return Err(with_usage(&format!("unknown option {option}")));
                }
                _ => (&mut config, Some(argument.clone())),
            };
            let value = value.ok_or_else(|| with_usage(&format!("{argument} needs a value")))?;
            if target.replace(value).is_some() {
                return Err(with_usage(&format!("unexpected argument {argument}")));
            }
        }
        let path = |value: Option<String>, default: &str| {
            value.map_or_else(|| PathBuf::from(ROOT).join(default), Into::into)
        };
        Ok(Self {
            listen: listen.unwrap_or_else(|| "127.0.0.1:8080".into()),
            data: path(data, "target/site"),
            config: path(config, "examples/site/caches.toml"),
            debug,
        })
    }
}

fn with_usage(message: &str) -> String {
    format!("{message}\n{USAGE}")
}
