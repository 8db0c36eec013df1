//! Redis: one server, a cluster, or one with replicas that sentinels watch over.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    Kind, PATIENCE, Server, folder::Folder, mariadb::first_that_exists, process::free_port,
};
use crate::shell::{self, Outcome};

/// How long a server of a cluster, or one that sentinels watch, may be silent before it is replaced, in milliseconds.
const DOWN_AFTER: &str = "1000";

const SLOTS: usize = 16384;

pub(super) fn program() -> Outcome<PathBuf> {
    first_that_exists(vec!["/usr/bin/redis-server".into()], "redis-server")
}

/// Nothing is written to disk, unless `extra` says otherwise. Where it names a `sentinel.conf`, the server is a sentinel.
pub(super) fn command(folder: &Folder, port: u16, extra: &[String]) -> Outcome<Command> {
    let mut command = folder.command(&program()?);
    let (files, arguments): (Vec<_>, Vec<_>) =
        extra.iter().partition(|argument| argument.ends_with(".conf"));
    for file in files {
        let place = folder.path().join("sentinel.conf");
        if !place.exists() {
            fs::copy(file, &place).map_err(|why| format!("{file}: cannot be copied: {why}"))?;
        }
        command.arg(place).arg("--sentinel");
    }
    command.args([
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    command.args(["--repl-diskless-sync-delay", "0"]);
    command.args(["--dir"]).arg(folder.path()).args(arguments);
    Ok(command)
}

/// Any answer is one: a server with a password refuses to tell more.
pub(super) fn answers(_: &Folder, port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut said = [0; 64];
        let length = stream.read(&mut said)?;
        std::io::Result::Ok(
            said[..length].starts_with(b"+PONG") || said[..length].starts_with(b"-NOAUTH"),
        )
    };
    ask().unwrap_or(false)
}

/// What the server on this port answers to a command.
fn ask(port: u16, command: &[&str]) -> Outcome<String> {
    let said = shell::output(
        Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(command),
    )?;
    Ok(said.trim().to_owned())
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Outcome<bool>) -> Outcome {
    let start = Instant::now();
    while !is_so()? {
        if start.elapsed() > PATIENCE {
            return Err(format!("{what} is still not so after {PATIENCE:?}"));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A Redis cluster on this machine.
#[derive(Debug)]
pub struct RedisCluster {
    /// The servers: the leaders, and then the replicas, one for each leader or none.
    pub servers: Vec<Server>,
}

impl RedisCluster {
    /// So many leaders that share the slots evenly, each with a replica or not. They are ready when this returns.
    pub fn start(leaders: usize, replicas: bool) -> Outcome<Self> {
        let count = if replicas { 2 * leaders } else { leaders };
        let servers = (0..count).map(|_| start_member()).collect::<Outcome<Vec<_>>>()?;
        let ports: Vec<u16> = servers.iter().map(|(server, _)| server.port).collect();
        for (number, port) in ports[..leaders].iter().enumerate() {
            let (first, next) = (number * SLOTS / leaders, (number + 1) * SLOTS / leaders);
            ask(*port, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(next - 1).to_string()])?;
            ask(*port, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
        }
        for (server, bus) in &servers[1..] {
            ask(
                ports[0],
                &["CLUSTER", "MEET", "127.0.0.1", &server.port.to_string(), &bus.to_string()],
            )?;
        }
        let know_each_other =
            |port: &u16| Ok(ask(*port, &["CLUSTER", "NODES"])?.lines().count() == count);
        wait_until("that the servers know each other", || all(&ports, know_each_other))?;
        for (number, replica) in ports[leaders..].iter().enumerate() {
            let leader = ask(ports[number], &["CLUSTER", "MYID"])?;
            wait_until("that a replica takes its leader", || {
                Ok(ask(*replica, &["CLUSTER", "REPLICATE", &leader])?.starts_with("OK"))
            })?;
        }
        let is_up = |port: &u16| Ok(ask(*port, &["CLUSTER", "INFO"])?.contains("cluster_state:ok"));
        wait_until("that the cluster is up", || all(&ports, is_up))?;
        wait_until("that the replicas follow", || all(&ports[leaders..], follows))?;
        Ok(Self { servers: servers.into_iter().map(|(server, _)| server).collect() })
    }

    /// Gives a slot to another leader, as when the cluster is rebalanced; its keys go with it.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) -> Outcome {
        let slot = slot.to_string();
        let (from, to) = (&self.servers[from], &self.servers[to]);
        let (from_id, to_id) =
            (ask(from.port, &["CLUSTER", "MYID"])?, ask(to.port, &["CLUSTER", "MYID"])?);
        ask(to.port, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])?;
        ask(from.port, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id])?;
        for key in ask(from.port, &["CLUSTER", "GETKEYSINSLOT", &slot, "100000"])?.lines() {
            ask(from.port, &["MIGRATE", "127.0.0.1", &to.port.to_string(), key, "0", "5000"])?;
        }
        for server in [to, from] {
            ask(server.port, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id])?;
        }
        Ok(())
    }

    /// Begins to move a slot without its keys: for these, its leader still answers, and for all others it says whom to ask.
    pub fn begin_to_move_slot(&self, slot: u16, from: usize, to: usize) -> Outcome {
        let slot = slot.to_string();
        let (from, to) = (&self.servers[from], &self.servers[to]);
        let (from_id, to_id) =
            (ask(from.port, &["CLUSTER", "MYID"])?, ask(to.port, &["CLUSTER", "MYID"])?);
        ask(to.port, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])?;
        ask(from.port, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).map(drop)
    }
}

/// A member of a cluster to be, and the port on which such servers talk to each other.
fn start_member() -> Outcome<(Server, u16)> {
    let bus = free_port()?;
    let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", DOWN_AFTER];
    let more = ["--cluster-port", &bus.to_string(), "--cluster-replica-validity-factor", "0"];
    Ok((Server::start_with(Kind::Redis, &[&arguments[..], &more].concat())?, bus))
}

fn all(ports: &[u16], is_so: impl Fn(&u16) -> Outcome<bool>) -> Outcome<bool> {
    ports.iter().try_fold(true, |so_far, port| Ok(so_far && is_so(port)?))
}

fn follows(port: &u16) -> Outcome<bool> {
    Ok(ask(*port, &["INFO", "replication"])?.contains("master_link_status:up"))
}

impl Server {
    /// A replica of this server, that has what it has. For Redis.
    pub fn start_replica(&self) -> Outcome<Self> {
        let of = format!("127.0.0.1 {}", self.port);
        let replica = Self::start_with(Kind::Redis, &["--replicaof", &of])?;
        wait_until("that the replica follows", || follows(&replica.port))?;
        Ok(replica)
    }
}

/// A server with a replica, and three sentinels that make the replica the leader when it is needed. They are in agreement
/// when this is made.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The leader at first, and its replica.
    pub servers: [Server; 2],
    /// Who tells which of them leads.
    pub sentinels: Vec<Server>,
}

impl RedisSentinels {
    /// What the sentinels call the leader.
    pub const NAME: &str = "mymaster";

    /// Starts them all.
    pub fn start() -> Outcome<Self> {
        let leader = Server::start(Kind::Redis)?;
        let replica = leader.start_replica()?;
        let name = Self::NAME;
        let folder = Folder::new(Kind::Redis)?;
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "sentinel monitor {name} 127.0.0.1 {} 2\nsentinel down-after-milliseconds {name} {DOWN_AFTER}\n\
             sentinel failover-timeout {name} 3000\n",
            leader.port
        );
        fs::write(&file, text)
            .map_err(|why| format!("{}: cannot be written: {why}", file.display()))?;
        let start = |_| Server::start_with(Kind::Redis, &[&file.display().to_string()]);
        let sentinels = (0..3).map(start).collect::<Outcome<Vec<_>>>()?;
        let ports: Vec<u16> = sentinels.iter().map(Server::port).collect();
        wait_until("that the sentinels know each other and the replica", || {
            all(&ports, |port| {
                let others = ask(*port, &["SENTINEL", "SENTINELS", name])?;
                let replicas = ask(*port, &["SENTINEL", "REPLICAS", name])?;
                let names = |text: &str| text.lines().filter(|line| *line == "name").count();
                Ok(names(&others) == 2 && names(&replicas) == 1)
            })
        })?;
        Ok(Self { servers: [leader, replica], sentinels })
    }
}
