//! A bound on the memory of the bodies that are being collected for the store.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::policy::Reason;

/// The bytes that all bodies of a layer may take while they are collected.
#[derive(Debug)]
pub(crate) struct FillBudget {
    limit: u64,
    reserved: AtomicU64,
}

/// The bytes that one body takes. They are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<FillBudget>,
    bytes: AtomicU64,
}

impl FillBudget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, reserved: AtomicU64::new(0) }
    }

    pub(crate) fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), bytes: AtomicU64::new(0) }
    }
}

impl Reservation {
    /// Grows the reservation to `bytes`, unless it has as many already.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::FillBytes`] if the budget does not suffice.
    pub(crate) fn grow_to(&self, bytes: u64) -> Result<(), Reason> {
        let FillBudget { limit, reserved } = &*self.budget;
        let more = bytes.saturating_sub(self.bytes.load(Relaxed));
        if more == 0 {
            return Ok(());
        }
        let add = |reserved: u64| reserved.checked_add(more).filter(|sum| sum <= limit);
        reserved.fetch_update(Relaxed, Relaxed, add).map_err(|_full| Reason::FillBytes)?;
        self.bytes.fetch_add(more, Relaxed);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.reserved.fetch_sub(*self.bytes.get_mut(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_do_not_exceed_the_limit_and_end_when_dropped() {
        let budget = Arc::new(FillBudget::new(10));
        let (one, other) = (budget.reservation(), budget.reservation());
        assert_eq!(one.grow_to(6), Ok(()));
        assert_eq!(one.grow_to(4), Ok(()), "a reservation does not shrink");
        assert_eq!(other.grow_to(5), Err(Reason::FillBytes));
        assert_eq!(other.grow_to(4), Ok(()));
        drop(one);
        assert_eq!(other.grow_to(10), Ok(()));
        assert_eq!(budget.reservation().grow_to(u64::MAX), Err(Reason::FillBytes));
    }
}
