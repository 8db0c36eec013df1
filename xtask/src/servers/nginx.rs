//! nginx with a cache in front of an origin.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
};

use super::{
    PATIENCE, folder::Folder, install, mariadb::first_that_exists, process, process::Process,
};
use crate::shell::Outcome;

/// An nginx that runs until this value is dropped. It is one process, which serves by itself.
#[derive(Debug)]
pub struct Nginx {
    // The process goes first, then what it needs.
    process: Process,
    port: u16,
    _folder: Folder,
}

impl Nginx {
    /// A new one, which keeps what the origin at this port answers as long as that says. Installs nginx where it is missing.
    pub fn start(origin: u16) -> Outcome<Self> {
        install::ensure_nginx()?;
        let folder = Folder::named("nginx", None)?;
        let port = process::free_port()?;
        let settings = folder.path().join("nginx.conf");
        fs::write(&settings, conf(folder.path(), port, origin))
            .map_err(|why| format!("{}: cannot be written: {why}", settings.display()))?;
        let mut command = folder.command(&program()?);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&settings).arg("-e").arg(folder.log());
        let mut process = Process::start(&mut command, &folder.log())?;
        process.wait_until(PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { process, port, _folder: folder })
    }

    /// Where it listens, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

pub(super) fn program() -> Outcome<PathBuf> {
    first_that_exists(vec!["/usr/sbin/nginx".into()], "nginx")
}

/// What is usually advised for speed, and whether it was a hit in `X-Cache`.
fn conf(folder: &Path, port: u16, origin: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off;\n\
         master_process off;\n\
         pid {folder}/pid;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         access_log off;\n\
         sendfile on;\n\
         tcp_nopush on;\n\
         keepalive_requests 1000000000;\n\
         open_file_cache max=1000;\n\
         client_body_temp_path {folder}/body;\n\
         proxy_temp_path {folder}/temp;\n\
         fastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\n\
         scgi_temp_path {folder}/scgi;\n\
         proxy_cache_path {folder}/cache keys_zone=pages:1m;\n\
         server {{\n\
         listen 127.0.0.1:{port};\n\
         location / {{\n\
         proxy_pass http://127.0.0.1:{origin};\n\
         proxy_cache pages;\n\
         add_header X-Cache $upstream_cache_status;\n\
         }} }} }}\n"
    )
}
