//! Which version of a server is installed.

use std::process::Command;

use super::{Kind, mariadb, memcached, postgres, redis};
use crate::shell::{self, Outcome};

/// Its name and version, as `memcached 1.6.18`.
pub(super) fn of(kind: Kind) -> Outcome<String> {
    let (name, program, flag) = match kind {
        Kind::Postgres => ("PostgreSQL", postgres::program("postgres")?, "--version"),
        Kind::Mariadb => ("MariaDB", mariadb::program("mariadbd")?, "--version"),
        Kind::Memcached => ("memcached", memcached::program()?, "-V"),
        Kind::Redis => ("Redis", redis::program()?, "--version"),
    };
    let said = shell::output(Command::new(&program).arg(flag))?;
    let number =
        number(&said).ok_or_else(|| format!("{} tells no version: {said}", program.display()))?;
    Ok(format!("{name} {number}"))
}

/// The first number with a point in what a program said.
fn number(said: &str) -> Option<&str> {
    let pieces = said.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    pieces.map(|piece| piece.trim_matches('.')).find(|piece| piece.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_whatever_a_server_says() {
        let said = [
            "memcached 1.6.18",
            "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64",
            "mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu",
            "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
        ];
        assert_eq!(said.map(number), ["1.6.18", "7.0.15", "10.11.14", "15.18"].map(Some));
        assert_eq!(number("no version."), None);
    }
}
