//! A temporary folder that belongs to whom a server runs as.

use std::{
    env, fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::Kind;
use crate::shell::{self, Outcome};

/// The folder, and the user that a server runs as, where it refuses to be root.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    user: Option<&'static str>,
}

impl Folder {
    pub(super) fn new(kind: Kind) -> Outcome<Self> {
        let user = match kind {
            Kind::Postgres if is_root()? => Some("postgres"),
            Kind::Mariadb if is_root()? => Some("mysql"),
            Kind::Memcached if is_root()? => Some("memcache"),
            _ => None,
        };
        Self::named(&format!("{kind:?}").to_lowercase(), user)
    }

    /// One for this program, which runs as this user, or as whoever starts it.
    pub(super) fn named(program: &str, user: Option<&'static str>) -> Outcome<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path =
                env::temp_dir().join(format!("cachette-{program}-{}-{number}", process::id()));
            match make(&path, user) {
                Ok(()) => return Ok(Self { path, user }),
                // Of a process that was killed, whose number this one has now.
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
                Err(why) => return Err(format!("{}: cannot be made: {why}", path.display())),
            }
        }
    }

    /// One through which everybody may pass to folders of their own within.
    pub(super) fn of_all(name: &str) -> Outcome<Self> {
        let folder = Self::named(name, None)?;
        let told = |why| format!("{}: cannot be opened: {why}", folder.path.display());
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o711)).map_err(told)?;
        Ok(folder)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The program, run as whom the folder belongs to, and ended when the thread that starts it ends. Its temporary files
    /// are in the folder as well: a MariaDB that starts removes those of others that it finds.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = self.user {
            command.args(["--reuid", user, "--regid", user, "--init-groups"]);
        }
        command.arg("--").arg(program).current_dir(&self.path).env("TMPDIR", &self.path);
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn make(path: &Path, user: Option<&str>) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    let Some(user) = user else { return Ok(()) };
    let id = |flag| shell::output(Command::new("id").args([flag, user])).map_err(io::Error::other);
    let number = |id: String| id.trim().parse::<u32>().map_err(io::Error::other);
    chown(path, Some(number(id("-u")?)?), Some(number(id("-g")?)?))
}

pub(super) fn is_root() -> Outcome<bool> {
    Ok(shell::output(Command::new("id").arg("-u"))?.trim() == "0")
}
