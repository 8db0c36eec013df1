//! Leases on real servers, beyond what the conformance suite tests.

mod common;

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cache_core::{Acquired, Ask, Cache, ErrorKind, Lease, Leases, Value};
use cache_memcached::{MemcachedCache, WhenDead};
use common::{HOUR, bytes, patient, server, store_at};
use xtask::servers::Server;

const HOLD: Duration = Duration::from_secs(60);
const ANY: Ask<'static> = Ask::Any { side: "~:lease:k" };
/// How long a child holds a lease that it does not end.
const SHORT_HOLD: Duration = Duration::from_secs(2);

fn leases(store: &MemcachedCache) -> &dyn Leases {
    store.leases().expect("the store has leases")
}

async fn acquire(store: &MemcachedCache, ask: Ask<'_>) -> Acquired {
    leases(store).acquire("k", ask, HOLD).await.expect("a reply")
}

async fn lease(store: &MemcachedCache, ask: Ask<'_>) -> Lease {
    acquire(store, ask).await.lease.expect("granted")
}

async fn fill(store: &MemcachedCache, lease: Lease, value: Value) -> bool {
    leases(store).fill("k", lease, value, HOUR).await.expect("a reply")
}

/// Sends lines as another application does, and returns the first line of the reply.
fn raw(server: &Server, lines: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("connected");
    write!(stream, "{lines}\r\n").expect("sent");
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).expect("a reply");
    reply.trim_end().to_owned()
}

#[tokio::test]
async fn stub_is_stored_under_the_key_and_a_foreign_write_ends_the_lease() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    let held = lease(&store, Ask::Missing).await;
    assert_eq!(raw(&server, "get k"), "VALUE k 0 0");
    assert_eq!(raw(&server, "set k 256 0 7\r\nforeign"), "STORED");
    assert!(!fill(&store, held, bytes("late")).await);
    assert_eq!(store.get("k").await.expect("a reply"), Some(bytes("foreign")));
}

/// CAS tokens start again when the server restarts, so a newer entry gets the one of the lease.
#[tokio::test]
async fn fill_after_a_restart_stores_nothing() {
    for (ask, entry) in [(Ask::Missing, None), (ANY, None), (ANY, Some("old"))] {
        let mut server = server();
        let store = store_at(&[server.port()], &patient());
        if let Some(entry) = entry {
            store.set("k", bytes(entry), HOUR).await.expect("stored");
        }
        let held = lease(&store, ask).await;
        // A stub has a flag after the token.
        let token_of = |line: String| line.split(' ').nth(1).map(str::to_owned);
        let token = token_of(raw(&server, "mg k c"));
        server.kill().expect("killed");
        server.restart().expect("restarted");
        let other = store_at(&[server.port()], &patient());
        while token_of(raw(&server, "mg k c")) != token {
            other.set("k", bytes("new"), HOUR).await.expect("stored");
        }
        assert!(!fill(&store, held, bytes("late")).await, "{ask:?}");
        assert_eq!(store.get("k").await.expect("a reply"), Some(bytes("new")), "{ask:?}");
    }
}

#[tokio::test]
async fn fill_on_a_new_connection_stores_nothing() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    for ask in [Ask::Missing, ANY] {
        let held = lease(&store, ask).await;
        store.close().await.expect("closed");
        assert!(!fill(&store, held, bytes("late")).await, "{ask:?}");
        assert_eq!(store.get("k").await.expect("a reply"), None);
        store.delete("k").await.expect("deleted");
        store.delete("~:lease:k").await.expect("deleted");
    }
}

#[tokio::test]
async fn fill_while_the_server_is_down_stores_nothing() {
    let mut server = server();
    let store = store_at(&[server.port()], &patient());
    let held = lease(&store, Ask::Missing).await;
    server.kill().expect("killed");
    match leases(&store).fill("k", held, bytes("late"), HOUR).await {
        Ok(filled) => assert!(!filled),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
    }
    let error = leases(&store).acquire("k", Ask::Missing, HOLD).await.expect_err("no server");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn lease_of_a_dead_server_is_granted_and_lost_if_dead_servers_miss() {
    let mut server = server();
    let store = store_at(&[server.port()], &patient().when_dead(WhenDead::Miss));
    server.kill().expect("killed");
    for ask in [Ask::Missing, ANY] {
        let held = lease(&store, ask).await;
        assert!(!fill(&store, held, bytes("late")).await, "{ask:?}");
    }
}

#[tokio::test]
async fn lease_is_granted_by_the_next_server() {
    let mut servers = [server(), server()];
    let ports = [servers[0].port(), servers[1].port()];
    let store = store_at(&ports, &patient().when_dead(WhenDead::Next));
    let _held = lease(&store, Ask::Missing).await;
    let first = usize::from(raw(&servers[0], "get k") == "END");
    servers[first].kill().expect("killed");
    assert_eq!(store.get("k").await.expect("a reply of the next server"), None);
    let held = lease(&store, Ask::Missing).await;
    assert_eq!(raw(&servers[1 - first], "get k"), "VALUE k 0 0");
    assert!(fill(&store, held, bytes("new")).await);
    assert_eq!(store.get("k").await.expect("a reply"), Some(bytes("new")));
}

#[tokio::test]
async fn touch_ends_a_lease_and_does_not_extend_it() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    for ttl in [HOUR, None] {
        let held = lease(&store, Ask::Missing).await;
        assert!(!store.touch("k", ttl).await.expect("a reply"));
        assert_eq!(raw(&server, "get k"), "END");
        assert!(!fill(&store, held, bytes("late")).await);
    }
}

#[tokio::test]
async fn stub_that_another_application_touched_is_removed() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    for ttl in ["3600", "0"] {
        let held = lease(&store, Ask::Missing).await;
        assert_eq!(raw(&server, &format!("touch k {ttl}")), "TOUCHED");
        let second = lease(&store, Ask::Missing).await;
        assert!(!fill(&store, held, bytes("late")).await);
        assert!(fill(&store, second, bytes("new")).await);
        store.delete("k").await.expect("deleted");
    }
}

#[tokio::test]
async fn longer_lease_excludes_a_shorter_one() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    let long = Duration::from_secs(600);
    let acquired = leases(&store).acquire("k", Ask::Missing, long).await.expect("a reply");
    let other = leases(&store).acquire("k", Ask::Missing, Duration::from_secs(1)).await;
    assert!(other.expect("a reply").lease.is_none());
    assert!(fill(&store, acquired.lease.expect("granted"), bytes("new")).await);
}

/// `ms` with a CAS token, because a touch could change a newer entry.
#[tokio::test]
async fn release_with_keep_changes_no_newer_entry() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    let held = lease(&store, Ask::Missing).await;
    store.set("k", bytes("new"), HOUR).await.expect("stored");
    leases(&store).release("k", held, Duration::from_secs(1)).await.expect("a reply");
    assert!(raw(&server, "mg k t").starts_with("HD t3"), "{}", raw(&server, "mg k t"));

    store.delete("k").await.expect("deleted");
    let held = lease(&store, Ask::Missing).await;
    leases(&store).release("k", held, HOLD).await.expect("a reply");
    assert!(acquire(&store, Ask::Missing).await.lease.is_none(), "it is kept");
    assert_eq!(store.get("k").await.expect("a reply"), None);
    assert!(store.add("k", bytes("added"), HOUR).await.expect("a reply"));
}

#[tokio::test]
async fn entry_of_another_application_can_be_filled() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    for ask in [Ask::Missing, ANY] {
        assert_eq!(raw(&server, "set k 1 0 4\r\ntext"), "STORED");
        let held = lease(&store, ask).await;
        assert!(fill(&store, held, bytes("new")).await, "{ask:?}");
        assert_eq!(raw(&server, "set k 1 0 4\r\ntext"), "STORED");
        let held = lease(&store, ask).await;
        assert_eq!(raw(&server, "set k 1 0 4\r\ntext"), "STORED");
        assert!(!fill(&store, held, bytes("late")).await, "{ask:?}: it was written again");
    }
}

#[tokio::test]
async fn large_increment_of_a_leased_key_finds_nothing() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    let held = lease(&store, Ask::Missing).await;
    for delta in [1, -1, 1 << 40] {
        assert_eq!(store.incr("k", delta).await.expect("a reply"), None);
    }
    assert!(fill(&store, held, Value::Int(1)).await);
}

#[tokio::test]
async fn too_large_add_on_a_leased_key_fails() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    let held = lease(&store, Ask::Missing).await;
    let large = Value::Bytes(vec![b'x'; 2 << 20].into());
    let error = store.add("k", large, HOUR).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(fill(&store, held, bytes("new")).await);
}

#[tokio::test]
async fn too_large_fill_of_a_lost_lease_keeps_the_newer_entry() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    let held = lease(&store, Ask::Missing).await;
    store.set("k", bytes("new"), HOUR).await.expect("stored");
    let large = Value::Bytes(vec![b'x'; 2 << 20].into());
    let error = leases(&store).fill("k", held, large, HOUR).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(store.get("k").await.expect("a reply"), Some(bytes("new")));
}

#[tokio::test]
async fn lease_of_another_key_or_store_stores_nothing() {
    let server = server();
    let client = || store_at(&[server.port()], &patient());
    let (store, other) = (client(), client());
    let held = lease(&store, Ask::Missing).await;
    let filled = leases(&store).fill("other", held, bytes("late"), HOUR).await;
    assert!(!filled.expect("a reply"));
    store.delete("k").await.expect("deleted");
    let held = lease(&store, Ask::Missing).await;
    assert!(!fill(&other, held, bytes("late")).await);
}

const TASK: &str = "CACHETTE_TEST_TASK";
const PORT: &str = "CACHETTE_TEST_PORT";
const WRITES: usize = 200;

/// Starts this binary as another process that runs a task on the server.
fn child(task: &str, server: &Server) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path is known"));
    command.args(["child_process_runs_its_task", "--exact", "--nocapture"]);
    command.env(TASK, task).env(PORT, server.port().to_string());
    command
}

/// Not a test: the entry point of the child processes of the tests below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_process_runs_its_task() {
    let (Ok(task), Ok(port)) = (env::var(TASK), env::var(PORT)) else { return };
    let store = store_at(&[port.parse().expect("a port")], &patient());
    if task == "hold and die" {
        let acquired =
            leases(&store).acquire("k", Ask::Missing, SHORT_HOLD).await.expect("a reply");
        assert!(acquired.lease.is_some());
        std::process::abort();
    }
    race(&store, task.parse().expect("a number")).await;
}

/// Changes the source of this process's value and then writes or deletes the value, while other
/// tasks fill the values of both processes from their sources.
///
/// No value may be older than the last change of this process, which is the only writer. It writes
/// until a fill between two writes was stored, whenever the scheduler lets one happen.
async fn race(store: &MemcachedCache, process: i64) {
    let stored = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
    let fillers = [0, 1].map(|key| {
        let (store, stored) = (store.clone(), Arc::clone(&stored[key]));
        tokio::spawn(async move { fill_until_done(&store, key, &stored).await })
    });
    let own = &stored[usize::try_from(process).expect("0 or 1")];
    for write in 0.. {
        if write >= WRITES && own.load(Ordering::Relaxed) > 0 {
            break;
        }
        let changed = store.incr(&format!("source-{process}"), 1).await.expect("a reply");
        let changed = changed.expect("the parent created it");
        let key = format!("value-{process}");
        if write % 2 == 0 {
            store.delete(&key).await.expect("deleted");
        } else {
            store.set(&key, Value::Int(changed), HOUR).await.expect("stored");
        }
        for _ in 0..5 {
            if let Some(Value::Int(found)) = store.get(&key).await.expect("a reply") {
                assert!(found >= changed, "{found} was stored over the change to {changed}");
            }
        }
    }
    store.set(&format!("done-{process}"), Value::Int(1), HOUR).await.expect("stored");
    for filler in fillers {
        filler.await.expect("no panic");
    }
}

async fn fill_until_done(store: &MemcachedCache, process: usize, stored: &AtomicUsize) {
    let (key, source) = (format!("value-{process}"), format!("source-{process}"));
    let side = format!("~:lease:{process}");
    while store.get(&format!("done-{process}")).await.expect("a reply").is_none() {
        for ask in [Ask::Missing, Ask::Any { side: &side }] {
            let acquired = leases(store).acquire(&key, ask, HOLD).await.expect("a reply");
            let Some(lease) = acquired.lease else { continue };
            let value = store.get(&source).await.expect("a reply").expect("it is never deleted");
            let filled = leases(store).fill(&key, lease, value, HOUR).await.expect("a reply");
            stored.fetch_add(usize::from(filled), Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn late_fill_of_two_processes_is_never_stored_over_a_newer_write() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    for process in 0..2 {
        store.set(&format!("source-{process}"), Value::Int(0), None).await.expect("stored");
    }
    let children = ["0", "1"].map(|number| {
        let mut command = child(number, &server);
        thread::spawn(move || command.output().expect("the child starts"))
    });
    for process in children {
        let output = process.join().expect("no panic");
        assert!(output.status.success(), "{output:?}");
    }
}

#[tokio::test]
async fn lease_of_a_killed_process_ends_by_time() {
    let server = server();
    let store = store_at(&[server.port()], &patient());
    let start = Instant::now();
    let output = child("hold and die", &server).output().expect("the child starts");
    assert!(!output.status.success(), "it aborts: {output:?}");
    while acquire(&store, Ask::Missing).await.lease.is_none() {
        assert!(start.elapsed() < Duration::from_secs(30), "still held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() >= SHORT_HOLD, "{:?}", start.elapsed());
}
