//! The tokio budget of a task: after some calls that did not wait, the task yields.
//!
//! A task that only reads and writes would otherwise keep its thread for as long as it runs, and
//! timers and other tasks would not get it.

use std::task::{Context, Waker};

use tokio::task::coop;

use crate::statement::Statement;

/// The number of arguments that cost as much as a read. A task has 128 such units.
const ARGS: usize = 16;

/// Spends the budget for statements that run on this thread. Returns `false` if nothing is left.
/// Without a tokio runtime, the budget is unlimited.
pub(super) fn spend_for(statements: &[Statement<'_>]) -> bool {
    let args: usize = statements.iter().map(|statement| statement.args.len()).sum();
    if !spend() {
        return false;
    }
    // A batch may cost more than is left: the task yields after it.
    let _ = (0..args / ARGS).take_while(|_| spend()).count();
    true
}

fn spend() -> bool {
    // The caller yields in `renew`, which wakes the task.
    let mut context = Context::from_waker(Waker::noop());
    let proceed = coop::poll_proceed(&mut context);
    proceed.map(|unit| unit.made_progress()).is_ready()
}

/// Yields if nothing is left of the budget, and returns whether it did.
pub(super) async fn renew() -> bool {
    if coop::has_budget_remaining() {
        return false;
    }
    coop::consume_budget().await;
    true
}
