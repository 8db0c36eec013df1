//! The command `watch`.

mod row;
mod screen;

use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use self::{
    row::{Look, Row},
    screen::Screen,
};
use super::Printer;
use crate::{Outcome, Result, args::Watch, selection::Selection, terminal};

/// Shows the statistics of the selected caches until it is interrupted, or `count` times.
pub(super) async fn run(selection: Selection, args: &Watch, printer: Printer) -> Result<Outcome> {
    let mut watch = Watching {
        rows: selection.into_each().map(|(alias, cache)| Row::new(alias, cache)).collect(),
        looks: JoinSet::new(),
        interval: args.interval,
    };
    let mut screen = Screen::new(args.interval);
    let mut frame = 1_u64;
    loop {
        let end = Instant::now() + args.interval;
        // The first frame waits for its numbers. Later ones show late numbers in the next frame.
        let patience = if frame == 1 { args.interval } else { args.interval / 4 };
        watch.look(end - args.interval + patience).await;
        if printer.is_json() {
            terminal::print_json(&watch.as_json())?;
        } else {
            screen.draw(&watch.rows)?;
        }
        if args.count.is_some_and(|count| frame >= count) {
            return Ok(Outcome::Done);
        }
        frame += 1;
        sleep_until(end).await;
    }
}

/// The caches that are watched.
struct Watching {
    rows: Vec<Row>,
    /// The looks that have begun, each with the index of its row. A server that does not reply
    /// delays only its own.
    looks: JoinSet<(usize, Look)>,
    interval: Duration,
}

impl Watching {
    /// Begins the looks that are due, and waits until all have ended or the deadline has passed.
    async fn look(&mut self, deadline: Instant) {
        for (index, row) in self.rows.iter_mut().enumerate() {
            if let Some(look) = row.begin_look() {
                self.looks.spawn(async move { (index, look.await) });
            }
        }
        while let Ok(Some(Ok((index, look)))) = timeout_at(deadline, self.looks.join_next()).await {
            self.rows[index].end_look(look, self.interval);
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let caches: Vec<_> = self.rows.iter().map(Row::as_json).collect();
        json!({"time": now.as_secs_f64(), "caches": caches})
    }
}
