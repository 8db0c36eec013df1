//! memcached.

use std::{os::unix::net::UnixStream, process::Command};

use super::{Server, Spec, accepts, folder::Folder, install::find_installed};
use crate::shell::Outcome;

pub(super) const SPEC: Spec = Spec {
    name: "memcached",
    package: "memcached",
    user: Some("memcache"),
    program: || find_installed("memcached"),
    version_flag: "-V",
    url: |port| format!("memcached://127.0.0.1:{port}"),
    prepare: |_| Ok(()),
    command,
    is_ready: |folder, port| {
        accepts(port) || UnixStream::connect(Server::socket(folder.path())).is_ok()
    },
};

fn command(folder: &Folder, port: u16, arguments: &[String]) -> Outcome<Command> {
    let mut command = folder.command(&(SPEC.program)()?);
    command.args(["-l", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    Ok(command)
}
