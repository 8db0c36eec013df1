//! memcached.

use std::{
    net::TcpStream,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Server, folder::Folder};
use crate::shell::Outcome;

pub(super) fn program() -> Outcome<PathBuf> {
    super::mariadb::first_that_exists(vec![Path::new("/usr/bin/memcached").into()], "memcached")
}

pub(super) fn command(folder: &Folder, port: u16, arguments: &[String]) -> Outcome<Command> {
    let mut command = folder.command(&program()?);
    command.args(["-l", "127.0.0.1", "-p", &port.to_string()]);
    command.args(arguments);
    Ok(command)
}

pub(super) fn answers(folder: &Folder, port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
        || UnixStream::connect(Server::socket(folder.path())).is_ok()
}
