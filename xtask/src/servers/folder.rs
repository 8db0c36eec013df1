//! A temporary folder that belongs to the account that a server uses.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::shell::{self, Outcome};

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    user: Option<&'static str>,
}

impl Folder {
    /// Creates a folder for `program`. If root runs this, the folder belongs to `user` and the
    /// program runs as `user`, because some servers do not run as root.
    pub(super) fn new(program: &str, user: Option<&'static str>) -> Outcome<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let user = if is_root() { user } else { None };
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path =
                env::temp_dir().join(format!("cachette-{program}-{}-{number}", process::id()));
            match create(&path, user) {
                Ok(()) => return Ok(Self { path, user }),
                // Left by a killed process that had the same process id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(format!("{}: cannot be created: {error}", path.display()));
                }
            }
        }
    }

    /// Creates a folder that every account can pass through to reach its own folders.
    pub(super) fn traversable(name: &str) -> Outcome<Self> {
        let folder = Self::new(name, None)?;
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o711))
            .map_err(|error| format!("{}: cannot be opened: {error}", folder.path.display()))?;
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

    /// Writes a configuration file and returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let file = self.path.join(name);
        fs::write(&file, text)
            .map_err(|error| format!("{}: cannot be written: {error}", file.display()))?;
        Ok(file)
    }

    /// Returns a command that runs `program` as the folder's owner and ends with the thread that
    /// starts it. `TMPDIR` is the folder: a MariaDB that starts removes other servers' temporary
    /// files.
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
        // A folder that cannot be removed stays among the temporary files.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn create(path: &Path, user: Option<&str>) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    let Some(user) = user else { return Ok(()) };
    let (uid, gid) = ids(user)?;
    chown(path, Some(uid), Some(gid))
}

/// The ids of a user and of its group. They are looked up once: some tests start many servers.
fn ids(user: &str) -> io::Result<(u32, u32)> {
    static KNOWN: Mutex<BTreeMap<String, (u32, u32)>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ids) = known.get(user) {
        return Ok(*ids);
    }
    let id = |flag| shell::output(Command::new("id").args([flag, user])).map_err(io::Error::other);
    let number = |id: String| id.trim().parse::<u32>().map_err(io::Error::other);
    let ids = (number(id("-u")?)?, number(id("-g")?)?);
    known.insert(user.to_owned(), ids);
    Ok(ids)
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
