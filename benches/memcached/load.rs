//! Tasks that work at once, and what their operations take.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, task::JoinSet};

/// A client of memcached, under measurement: each call is answered, else it panics.
pub(crate) trait Client: Send + Sync + 'static {
    fn get(&self, key: &str) -> impl Future<Output = ()> + Send;
    fn get_many(&self, keys: &[&str]) -> impl Future<Output = ()> + Send;
    fn set_many(&self, keys: &[&str]) -> impl Future<Output = ()> + Send;
}

#[derive(Clone, Copy)]
pub(crate) enum Verb {
    Get,
    GetMany,
    SetMany,
}

/// How many keys a batch has.
pub(crate) const BATCH: usize = 100;

/// Nanoseconds an operation.
pub(crate) struct Times {
    /// Of the clock on the wall, divided by all operations.
    pub(crate) wall: f64,
    /// Of all processors together, on our side.
    pub(crate) cpu: f64,
    /// What half of the operations took at most.
    pub(crate) median: f64,
    /// What 99 of 100 took at most.
    pub(crate) slow: f64,
}

/// Where and with which keys.
pub(crate) struct Load {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) keys: Arc<[Box<str>]>,
}

impl Load {
    /// Has so many tasks share `count` operations on a client.
    pub(crate) fn run<C: Client>(
        &self,
        tasks: usize,
        count: usize,
        client: &Arc<C>,
        verb: Verb,
    ) -> Times {
        let share = count / tasks;
        let (client, keys) = (Arc::clone(client), Arc::clone(&self.keys));
        let work = async move {
            let mut running = JoinSet::new();
            for task in 0..tasks {
                let (client, keys) = (Arc::clone(&client), Arc::clone(&keys));
                running.spawn(async move {
                    let mut taken = Vec::with_capacity(share);
                    for number in task * share..(task + 1) * share {
                        let start = Instant::now();
                        perform(&*client, &keys, verb, number).await;
                        taken.push(start.elapsed());
                    }
                    taken
                });
            }
            running.join_all().await.concat()
        };
        self.timed(work)
    }

    /// Times work that answers what each of its operations took.
    pub(crate) fn timed(
        &self,
        work: impl Future<Output = Vec<Duration>> + Send + 'static,
    ) -> Times {
        let (start, cpu) = (Instant::now(), cpu_time());
        let mut taken =
            self.runtime.block_on(async { tokio::spawn(work).await }).expect("it does not panic");
        let (wall, cpu) = (start.elapsed(), cpu_time() - cpu);
        taken.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let each = |time: Duration| time.as_secs_f64() * 1e9 / taken.len() as f64;
        let at = |percent: usize| taken[taken.len() * percent / 100].as_secs_f64() * 1e9;
        Times { wall: each(wall), cpu: each(cpu), median: at(50), slow: at(99) }
    }
}

async fn perform(client: &impl Client, keys: &[Box<str>], verb: Verb, number: usize) {
    let batch = || {
        let start = number * BATCH % (keys.len() - BATCH);
        keys[start..start + BATCH].iter().map(|key| &**key).collect::<Vec<&str>>()
    };
    match verb {
        Verb::Get => client.get(&keys[number % keys.len()]).await,
        Verb::GetMany => client.get_many(&batch()).await,
        Verb::SetMany => client.set_many(&batch()).await,
    }
}

#[cfg(target_os = "linux")]
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn cpu_time() -> Duration {
    use std::sync::OnceLock;

    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
