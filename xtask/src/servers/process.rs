//! A process that ends with the value that stands for it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use super::PATIENCE;
use crate::shell::{self, Outcome};

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(super) fn start(command: &mut Command, log: &Path) -> Outcome<Self> {
        let unwritable = |why| format!("{}: cannot be written: {why}", log.display());
        let out = File::options().create(true).append(true).open(log).map_err(unwritable)?;
        let err = out.try_clone().map_err(unwritable)?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child
            .map_err(|why| format!("{:?} could not be started: {why}", command.get_program()))?;
        Ok(Self { child, log: log.into() })
    }

    /// Waits for the server to be ready. If it ends instead, or takes too long, the error has what it wrote.
    pub(super) fn wait_until(&mut self, patience: Duration, ready: impl Fn() -> bool) -> Outcome {
        let start = Instant::now();
        while !ready() {
            let ended = self.child.try_wait().map_err(|why| format!("a server was lost: {why}"))?;
            if ended.is_some() || start.elapsed() > patience {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!(
                    "a server did not start ({ended:?} after {:?}):\n{said}",
                    start.elapsed()
                ));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process, and what it started.
    pub(super) fn kill(&mut self) -> Outcome {
        self.signal_all("KILL")?;
        self.child.wait().map(drop).map_err(|why| format!("a server was lost: {why}"))
    }

    /// Stops the process, and what it started, and waits until no thread of theirs runs any more: the kernel only notes a
    /// signal, and on a busy machine a server may answer once more before it heeds it.
    pub(super) fn stop(&self) -> Outcome {
        self.signal_all("STOP")?;
        let start = Instant::now();
        while self.family().into_iter().any(runs) {
            if start.elapsed() > PATIENCE {
                return Err(format!(
                    "a server was told to stop and runs on after {:?}",
                    start.elapsed()
                ));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(super) fn signal_all(&self, signal: &str) -> Outcome {
        for pid in self.family() {
            let sent = shell::output(Command::new("kill").args(["-s", signal, &pid.to_string()]));
            // A child may have ended meanwhile.
            if pid == self.child.id() {
                sent?;
            }
        }
        Ok(())
    }

    /// The process and what it started.
    fn family(&self) -> Vec<u32> {
        [vec![self.child.id()], children(self.child.id())].concat()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It ends with this process at the latest.
            let _ = self.kill();
        }
    }
}

/// The processes that this one started.
fn children(parent: u32) -> Vec<u32> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    behind_name(Path::new(&format!("/proc/{pid}/stat")), 1)?.parse().ok()
}

/// Whether any thread of the process is neither stopped nor dead.
fn runs(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut states = threads.filter_map(|thread| behind_name(&thread.path().join("stat"), 0));
    states.any(|state| !["T", "t", "Z", "X"].contains(&&*state))
}

/// A word of a file `stat`, counted from behind the name, which may have blanks and parentheses.
fn behind_name(stat: &Path, word: usize) -> Option<String> {
    let stat = fs::read_to_string(stat).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(word).map(str::to_owned)
}

/// A port that no other server of this process was given. One that the kernel chooses may be given to two, where the first
/// has not bound it yet; so it is chosen here, below those that the kernel gives away.
pub(super) fn free_port() -> Outcome<u16> {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run at once begin in different places.
    let start = process::id().wrapping_mul(257) % u32::from(COUNT);
    for _ in 0..COUNT {
        let next = start + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(next % u32::from(COUNT)).unwrap_or(0);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("there is no free port".into())
}
