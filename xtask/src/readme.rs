//! Runs the README's code in a new crate that depends on cachette by path.

use std::{fs, path::Path};

use crate::shell::{self, Outcome, cargo};

const CRATE: &str = "target/readme";

pub(crate) fn run() -> Outcome {
    let readme = fs::read_to_string("README.md")
        .map_err(|error| format!("README.md: cannot be read: {error}"))?;
    let manifest = block(&readme, "toml").ok_or("README.md: no TOML block found")?;
    let code = block(&readme, "rust").ok_or("README.md: no Rust block found")?;
    let package = "[package]\nname = \"readme\"\nedition = \"2024\"\n\n[workspace]\n\n";
    write("Cargo.toml", &format!("{package}{}", manifest.replace("\"../cachette\"", "\"../..\"")))?;
    write("src/main.rs", code)?;
    shell::run(&mut cargo(["run", "--manifest-path", &format!("{CRATE}/Cargo.toml")]))
}

fn write(name: &str, text: &str) -> Outcome {
    let path = Path::new(CRATE).join(name);
    let written =
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
    written.map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}

/// Returns the first fenced block in this language.
fn block<'a>(markdown: &'a str, language: &str) -> Option<&'a str> {
    let (_, rest) = markdown.split_once(&format!("```{language}\n"))?;
    rest.split_once("```").map(|(block, _)| block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_block_of_a_language_is_found() {
        let markdown = "a\n```console\n$ x\n```\nb\n```rust\none\n```\n```rust\ntwo\n```\n";
        assert_eq!(block(markdown, "rust"), Some("one\n"));
        assert_eq!(block(markdown, "toml"), None);
    }
}
