//! Child processes, which run one task of a test.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::{clocks, killed, locks, race, runtime, stores::Shared};

const TASK: &str = "CACHETTE_TEST_TASK";
const CONFIG: &str = "CACHETTE_TEST_CONFIG";
const FOLDER: &str = "CACHETTE_TEST_FOLDER";

/// What a child is to do. The number distinguishes the children of a test.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// Produces, writes and deletes keys.
    Race(u64),
    /// The same, with clocks that differ by an hour.
    RaceOfClocks(u64),
    /// Does work that is to be done by one process at a time.
    Work(u64),
    /// Holds something until it is killed.
    Hold(killed::Holding),
    /// Holds a lock for a short time, by a clock that is an hour ahead, until it is killed.
    HoldInAnHour,
}

/// What a child knows.
pub(crate) struct Setup {
    pub(crate) config: String,
    pub(crate) folder: PathBuf,
}

impl Task {
    fn name(self) -> String {
        format!("{self:?}")
    }

    /// Every task with a number of a child.
    fn all() -> impl Iterator<Item = Self> {
        let numbered = [Self::Race, Self::RaceOfClocks, Self::Work];
        let numbered = numbered.into_iter().flat_map(|task| (0..PROCESSES).map(task));
        numbered.chain(killed::Holding::ALL.map(Self::Hold)).chain([Self::HoldInAnHour])
    }

    async fn run(self, setup: &Setup) {
        match self {
            Self::Race(number) => race::run(setup, number).await,
            Self::RaceOfClocks(number) => clocks::race(setup, number).await,
            Self::Work(number) => locks::work(setup, number).await,
            Self::Hold(holding) => killed::hold(setup, holding).await,
            Self::HoldInAnHour => clocks::hold(setup).await,
        }
    }
}

pub(crate) const PROCESSES: u64 = 2;

/// Not a test: the entry point of child processes.
#[test]
fn child_process_runs_its_task() {
    let Ok(name) = env::var(TASK) else { return };
    let task = Task::all().find(|task| task.name() == name).expect("a task");
    let variable = |name| env::var(name).expect("set by the parent");
    let setup = Setup { config: variable(CONFIG), folder: variable(FOLDER).into() };
    runtime().block_on(task.run(&setup));
}

fn command(task: Task, shared: &Shared) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command
        .args(["--exact", "child::child_process_runs_its_task", "--nocapture"])
        .env(TASK, task.name())
        .env(CONFIG, &shared.config)
        .env(FOLDER, shared.folder.path());
    command
}

/// Runs two processes until both have ended without an error.
pub(crate) fn run_all(task: fn(u64) -> Task, shared: &Shared) {
    // Creates the table.
    runtime().block_on(async { crate::get(&crate::open(&shared.config).await, "k").await });
    let start = |number| command(task(number), shared).spawn().expect("it starts");
    let children: Vec<Child> = (0..PROCESSES).map(start).collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
}

/// The line that a child prints when it holds what it is to hold.
const HOLDS: &str = "the child holds it";

/// Tells the parent that this process may be killed, and waits for that.
#[expect(clippy::print_stdout, reason = "the parent waits for the output")]
pub(crate) async fn wait_to_be_killed<T>() -> T {
    println!("{HOLDS}");
    std::future::pending().await
}

/// A process that holds something. It is killed when this is dropped.
pub(crate) struct Holder(Child);

impl Holder {
    /// Starts a child and waits until it [waits to be killed](wait_to_be_killed).
    pub(crate) fn start(task: Task, shared: &Shared) -> Self {
        let child = command(task, shared).stdout(Stdio::piped()).spawn();
        let mut holder = Self(child.expect("it starts"));
        let lines = BufReader::new(holder.0.stdout.take().expect("piped")).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains(HOLDS)));
        holder
    }

    /// Kills it with SIGKILL and waits until it has ended.
    pub(crate) fn kill(mut self) {
        assert!(self.0.try_wait().expect("it can be waited for").is_none(), "it has ended");
        self.0.kill().expect("it is running");
        self.0.wait().expect("it ends");
    }
}

/// A test that fails leaves no process behind.
impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
