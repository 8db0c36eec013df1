//! Redis: a single server, a cluster, or a replica with sentinels.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    Kind, START_TIMEOUT, Server, Spec, folder::Folder, install::find_installed, process::Port,
};
use crate::shell::{self, Outcome};

pub(super) const SPEC: Spec = Spec {
    name: "Redis",
    package: "redis-server",
    user: None,
    program: || find_installed("redis-server"),
    version_flag: "--version",
    url: |port| format!("redis://127.0.0.1:{port}"),
    prepare: |_| Ok(()),
    command,
    is_ready: |_, port| ping(port).unwrap_or(false),
};

/// How long a cluster or sentinels wait for a silent server before they replace it, in
/// milliseconds.
const DOWN_AFTER: &str = "1000";

const SLOTS: usize = 16384;

/// Nothing is written to disk unless `arguments` say so. With a `sentinel.conf` among them, the
/// server is a sentinel.
fn command(folder: &Folder, port: u16, arguments: &[String]) -> Outcome<Command> {
    let mut command = folder.command(&(SPEC.program)()?);
    let (files, arguments): (Vec<_>, Vec<_>) =
        arguments.iter().partition(|argument| argument.ends_with(".conf"));
    for file in files {
        let copy = folder.path().join("sentinel.conf");
        if !copy.exists() {
            fs::copy(file, &copy).map_err(|error| format!("{file}: cannot be copied: {error}"))?;
        }
        command.arg(copy).arg("--sentinel");
    }
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
    command.arg("--dir").arg(folder.path()).args(arguments);
    Ok(command)
}

/// A server with a password replies with an error, and is ready as well.
fn ping(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut reply = [0; 64];
    let length = stream.read(&mut reply)?;
    Ok(reply[..length].starts_with(b"+PONG") || reply[..length].starts_with(b"-NOAUTH"))
}

/// Sends a command to the server at this port and returns its reply.
fn send(port: u16, command: &[&str]) -> Outcome<String> {
    let reply = shell::output(
        Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(command),
    )?;
    Ok(reply.trim().to_owned())
}

fn wait_until(what: &str, mut condition: impl FnMut() -> Outcome<bool>) -> Outcome {
    let start = Instant::now();
    while !condition()? {
        if start.elapsed() > START_TIMEOUT {
            return Err(format!("timed out after {START_TIMEOUT:?}: waiting until {what}"));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn all(ports: &[u16], condition: impl Fn(&u16) -> Outcome<bool>) -> Outcome<bool> {
    ports.iter().try_fold(true, |so_far, port| Ok(so_far && condition(port)?))
}

fn follows(port: &u16) -> Outcome<bool> {
    Ok(send(*port, &["INFO", "replication"])?.contains("master_link_status:up"))
}

/// A Redis cluster on this machine.
#[derive(Debug)]
pub struct RedisCluster {
    /// The leaders, then the replicas: one for each leader or none.
    pub servers: Vec<Server>,
    _buses: Vec<Port>,
}

impl RedisCluster {
    /// Starts a cluster in which `leaders` servers share the slots evenly, with a replica each if
    /// `replicas` is set. The cluster is ready when this returns.
    pub fn start(leaders: usize, replicas: bool) -> Outcome<Self> {
        let count = if replicas { 2 * leaders } else { leaders };
        let servers = (0..count).map(|_| start_member()).collect::<Outcome<Vec<_>>>()?;
        let ports: Vec<u16> = servers.iter().map(|(server, _)| server.port()).collect();
        for (number, port) in ports[..leaders].iter().enumerate() {
            let (first, next) = (number * SLOTS / leaders, (number + 1) * SLOTS / leaders);
            let (first, last) = (first.to_string(), (next - 1).to_string());
            send(*port, &["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
            send(*port, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
        }
        for (server, bus) in &servers[1..] {
            let (port, bus) = (server.port().to_string(), bus.number().to_string());
            send(ports[0], &["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        let knows_all =
            |port: &u16| Ok(send(*port, &["CLUSTER", "NODES"])?.lines().count() == count);
        wait_until("the servers know each other", || all(&ports, knows_all))?;
        for (number, replica) in ports[leaders..].iter().enumerate() {
            let leader = send(ports[number], &["CLUSTER", "MYID"])?;
            wait_until("a replica accepts its leader", || {
                Ok(send(*replica, &["CLUSTER", "REPLICATE", &leader])?.starts_with("OK"))
            })?;
        }
        let is_up =
            |port: &u16| Ok(send(*port, &["CLUSTER", "INFO"])?.contains("cluster_state:ok"));
        wait_until("the cluster is up", || all(&ports, is_up))?;
        wait_until("the replicas follow", || all(&ports[leaders..], follows))?;
        let (servers, _buses) = servers.into_iter().unzip();
        Ok(Self { servers, _buses })
    }

    /// Moves a slot with its keys to another leader, as a rebalance does.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) -> Outcome {
        self.begin_to_move_slot(slot, from, to)?;
        let (from, to) = (self.servers[from].port(), self.servers[to].port());
        let slot = slot.to_string();
        for key in send(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "100000"])?.lines() {
            send(from, &["MIGRATE", "127.0.0.1", &to.to_string(), key, "0", "5000"])?;
        }
        let new_leader = send(to, &["CLUSTER", "MYID"])?;
        for port in [to, from] {
            send(port, &["CLUSTER", "SETSLOT", &slot, "NODE", &new_leader])?;
        }
        Ok(())
    }

    /// Starts to move a slot and leaves its keys: the old leader still serves these, and redirects
    /// requests for other keys.
    pub fn begin_to_move_slot(&self, slot: u16, from: usize, to: usize) -> Outcome {
        let slot = slot.to_string();
        let (from, to) = (self.servers[from].port(), self.servers[to].port());
        let (from_id, to_id) = (send(from, &["CLUSTER", "MYID"])?, send(to, &["CLUSTER", "MYID"])?);
        send(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])?;
        send(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).map(drop)
    }
}

/// Starts a member of a cluster. Returns it with the port of its cluster bus.
fn start_member() -> Outcome<(Server, Port)> {
    let bus = Port::free()?;
    let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", DOWN_AFTER];
    let more =
        ["--cluster-port", &bus.number().to_string(), "--cluster-replica-validity-factor", "0"];
    Ok((Server::start_with(Kind::Redis, &[&arguments[..], &more].concat())?, bus))
}

impl Server {
    /// Starts a replica of this Redis server, and waits until it has the same data.
    pub fn start_replica(&self) -> Outcome<Self> {
        let leader = format!("127.0.0.1 {}", self.port());
        let replica = Self::start_with(Kind::Redis, &["--replicaof", &leader])?;
        wait_until("the replica follows", || follows(&replica.port()))?;
        Ok(replica)
    }
}

/// A server with a replica, and three sentinels that promote the replica if the leader fails.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The first leader and its replica.
    pub servers: [Server; 2],
    /// The sentinels.
    pub sentinels: Vec<Server>,
}

impl RedisSentinels {
    /// The name under which the sentinels know the leader.
    pub const NAME: &str = "mymaster";

    /// Starts all of them, and waits until the sentinels agree.
    pub fn start() -> Outcome<Self> {
        let leader = Server::start(Kind::Redis)?;
        let replica = leader.start_replica()?;
        let name = Self::NAME;
        let folder = Folder::new("sentinel", None)?;
        let settings = format!(
            "sentinel monitor {name} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {name} {DOWN_AFTER}\n\
             sentinel failover-timeout {name} 3000\n",
            leader.port()
        );
        let file = folder.write("sentinel.conf", &settings)?.display().to_string();
        let start = |_| Server::start_with(Kind::Redis, &[&file]);
        let sentinels = (0..3).map(start).collect::<Outcome<Vec<_>>>()?;
        let ports: Vec<u16> = sentinels.iter().map(Server::port).collect();
        wait_until("the sentinels know each other and the replica", || {
            all(&ports, |port| {
                let others = send(*port, &["SENTINEL", "SENTINELS", name])?;
                let replicas = send(*port, &["SENTINEL", "REPLICAS", name])?;
                let names = |text: &str| text.lines().filter(|line| *line == "name").count();
                Ok(names(&others) == 2 && names(&replicas) == 1)
            })
        })?;
        Ok(Self { servers: [leader, replica], sentinels })
    }
}
