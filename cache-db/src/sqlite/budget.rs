//! The tokio budget of a task: after some calls that did not wait, the task yields.
//!
//! A task that only reads and writes would otherwise keep its thread for as long as it runs, and
//! timers and other tasks would not get it.

use std::task::{Context, Waker};

use tokio::task::coop;

use crate::{database::Effect, statement::Statement};

/// The cost of a read. A task has a budget of 128, so it yields after 64 reads.
const READ: usize = 2;

/// The cost of a write, which takes about eight times as long as a read.
const WRITE: usize = 16;

/// The number of arguments that cost 1 more.
const ARGS: usize = 8;

/// Spends the budget for statements that run on this thread. Returns `false` if nothing is left.
/// Without a tokio runtime, the budget is unlimited.
pub(super) fn spend_for(statements: &[Statement<'_>], effect: Effect) -> bool {
    let args: usize = statements.iter().map(|statement| statement.args.len()).sum();
    let cost = if effect == Effect::Read { READ } else { WRITE } + args / ARGS;
    if !spend() {
        return false;
    }
    // A call may cost more than is left: the task yields after it.
    let _ = (1..cost).take_while(|_| spend()).count();
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
