//! The README's code, in a crate of its own that depends on cachette by path, as a newcomer has it.

use std::{fs, path::Path};

use crate::shell::{self, Outcome, cargo};

const CRATE: &str = "target/newcomer";

pub(crate) fn run() -> Outcome {
    let readme = fs::read_to_string("README.md")
        .map_err(|why| format!("README.md: cannot be read: {why}"))?;
    let manifest = block(&readme, "toml").ok_or("README.md has no block of TOML")?;
    let code = block(&readme, "rust").ok_or("README.md has no block of Rust")?;
    let package = "[package]\nname = \"newcomer\"\nedition = \"2024\"\n\n[workspace]\n\n";
    write("Cargo.toml", &format!("{package}{}", manifest.replace("\"../cachette\"", "\"../..\"")))?;
    write("src/main.rs", code)?;
    shell::run(&mut cargo(["run", "--manifest-path", &format!("{CRATE}/Cargo.toml")]))
}

fn write(name: &str, text: &str) -> Outcome {
    let path = Path::new(CRATE).join(name);
    let written =
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
    written.map_err(|why| format!("{}: cannot be written: {why}", path.display()))
}

/// The first fenced block in this language.
fn block<'a>(markdown: &'a str, language: &str) -> Option<&'a str> {
    let (_, rest) = markdown.split_once(&format!("```{language}\n"))?;
    rest.split_once("```").map(|(block, _)| block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_of_a_language_is_found() {
        let markdown = "a\n```console\n$ x\n```\nb\n```rust\none\n```\n```rust\ntwo\n```\n";
        assert_eq!(block(markdown, "rust"), Some("one\n"));
        assert_eq!(block(markdown, "toml"), None);
    }
}
