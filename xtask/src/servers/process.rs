//! A process that ends when its value is dropped.

use std::{
    fs::{self, File},
    net::{TcpStream, UdpSocket},
    path::Path,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::START_TIMEOUT;
use crate::shell::Outcome;

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts a server and waits until it is ready. The error includes the server's log.
    pub(super) fn start(
        command: &mut Command,
        log: &Path,
        is_ready: impl Fn() -> bool,
    ) -> Outcome<Self> {
        let unwritable = |error| format!("{}: cannot be written: {error}", log.display());
        let out = File::options().create(true).append(true).open(log).map_err(unwritable)?;
        let err = out.try_clone().map_err(unwritable)?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.map_err(|error| {
            format!("cannot start {}: {error}", command.get_program().display())
        })?;
        let mut process = Self { child };
        let start = Instant::now();
        while !is_ready() {
            let status = process.child.try_wait();
            let status = status.map_err(|error| format!("cannot wait for a server: {error}"))?;
            if status.is_some() || start.elapsed() > START_TIMEOUT {
                let log = fs::read_to_string(log).unwrap_or_default();
                let took = start.elapsed();
                return Err(format!("a server did not start ({status:?} after {took:?}):\n{log}"));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process and its children.
    pub(super) fn kill(&mut self) -> Outcome {
        self.signal_all(Signal::KILL)?;
        self.child.wait().map(drop).map_err(|error| format!("cannot wait for a server: {error}"))
    }

    /// Stops the process and its children, and waits until none of their threads runs. The kernel
    /// delivers a signal later: on a busy machine a server may still reply once.
    pub(super) fn stop(&self) -> Outcome {
        self.signal_all(Signal::STOP)?;
        let start = Instant::now();
        while self.family().into_iter().any(is_running) {
            if start.elapsed() > START_TIMEOUT {
                return Err(format!("a server still runs {:?} after SIGSTOP", start.elapsed()));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(super) fn signal_all(&self, signal: Signal) -> Outcome {
        for id in self.family() {
            let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
            let Some(pid) = pid else { return Err(format!("{id} is not the id of a process")) };
            let sent = kill_process(pid, signal);
            // A child may have ended in the meantime.
            if id == self.child.id() {
                sent.map_err(|error| format!("cannot send a signal to a server: {error}"))?;
            }
        }
        Ok(())
    }

    /// The process and its children.
    fn family(&self) -> Vec<u32> {
        let own = self.child.id();
        let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
        [own].into_iter().chain(pids.filter(|pid| parent_of(*pid) == Some(own))).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // If this fails, the process ends with the thread that started it.
            let _ = self.kill();
        }
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    stat_field(Path::new(&format!("/proc/{pid}/stat")), 1)?.parse().ok()
}

/// Returns `true` if any thread of the process is neither stopped nor dead.
fn is_running(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut states = threads.filter_map(|thread| stat_field(&thread.path().join("stat"), 0));
    states.any(|state| !["T", "t", "Z", "X"].contains(&&*state))
}

/// Reads a field of a `stat` file. Fields are counted after the name, which may contain spaces and
/// parentheses.
fn stat_field(stat: &Path, index: usize) -> Option<String> {
    let stat = fs::read_to_string(stat).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(index).map(str::to_owned)
}

/// A port on 127.0.0.1 for a server, which no other server of any test process gets until this is
/// dropped.
///
/// The server binds it later, and again after a restart. In between it is claimed by a UDP socket
/// with the same number, which no server of the tests uses.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Claims a free port, below those that the kernel assigns to connections.
    ///
    /// To listen on the port would be a better check, but a process that another thread starts
    /// meanwhile inherits the listener until it executes its program. The port would then seem to
    /// be that of a server that is ready, and the server could not bind it.
    pub(super) fn free() -> Outcome<Self> {
        const FIRST: u16 = 10_000;
        const COUNT: u16 = 22_000;
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Concurrent processes start at different ports.
        let start = process::id().wrapping_mul(257) % u32::from(COUNT);
        for _ in 0..COUNT {
            let next = start + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let number = FIRST + u16::try_from(next % u32::from(COUNT)).unwrap_or(0);
            let address = ("127.0.0.1", number);
            if let Ok(claim) = UdpSocket::bind(address)
                && TcpStream::connect(address).is_err()
            {
                return Ok(Self { number, _claim: claim });
            }
        }
        Err("no free port".into())
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn claimed_port_is_not_chosen_again() {
        let port = Port::free().expect("a free port");
        let claim = || UdpSocket::bind(("127.0.0.1", port.number()));
        assert!(claim().is_err(), "as another process would");
        assert!(TcpListener::bind(("127.0.0.1", port.number())).is_ok(), "the server can bind it");
        assert_ne!(Port::free().expect("a free port").number(), port.number());
    }
}
