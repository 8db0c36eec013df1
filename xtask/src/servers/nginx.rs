//! nginx with a cache in front of an origin.

use std::path::Path;

use super::{Daemon, folder::Folder, install};
use crate::shell::Outcome;

/// An nginx that runs until this value is dropped. It is one process that serves requests itself.
#[derive(Debug)]
pub struct Nginx(Daemon);

impl Nginx {
    /// Starts an nginx that caches responses of the origin at this port for as long as they allow.
    /// Installs nginx if it is missing.
    pub fn start(origin: u16) -> Outcome<Self> {
        install::ensure(&install::find_installed("nginx"), "nginx-light")?;
        let daemon = Daemon::start(Folder::new("nginx", None)?, |folder, port| {
            let settings = folder.write("nginx.conf", &settings(folder.path(), port, origin))?;
            let mut command = folder.command(&install::find_installed("nginx")?);
            command.arg("-p").arg(folder.path()).arg("-c").arg(settings);
            command.arg("-e").arg(folder.log());
            Ok(command)
        })?;
        Ok(Self(daemon))
    }

    /// Returns its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port.number()
    }

    /// Returns its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.process.id()
    }
}

/// The usual advice for speed. The header `X-Cache` reports hits.
fn settings(folder: &Path, port: u16, origin: u16) -> String {
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
