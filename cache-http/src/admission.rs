//! Which new pages are stored.
//!
//! A client that makes up queries, hosts or headers gets a new page with each request. If all of
//! these were stored, they would push the pages that others request out of a store with a limited
//! number of entries, together with the generations of these pages.
//!
//! So each page that is new to the store draws on a budget, which refills with time. While it is
//! empty, only pages are stored that were requested several times: twice at first, and the more
//! often, the more pages are stored regardless. A page that was stored before, and expired or was
//! evicted, is not new, and one that replaces a stale or purged one is not either.

use std::{
    hash::BuildHasher,
    sync::{Arc, Weak},
};

use cache_core::{CacheHandle, Moment};
use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::{key::StoreKey, policy::Reason, use_counts::UseCounts};

/// Decides which new pages are stored. The layers on one store share it.
#[derive(Debug)]
pub(crate) struct Admission {
    state: Mutex<State>,
    hasher: RandomState,
}

#[derive(Debug)]
struct State {
    uses: UseCounts,
    /// `None` if the number of new pages is not limited.
    budget: Option<Budget>,
}

/// Identifies a page of a store in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageId(u64);

/// What is written for a new page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewEntries {
    /// The page, and the generation of its URI.
    Page,
    /// Also the list of headers that the pages of its URI vary on.
    FirstVariant,
    /// Only the page.
    FurtherVariant,
}

/// A budget of new pages.
#[derive(Clone, Copy, Debug)]
struct Budget {
    limit: NewPageLimit,
    /// The number of pages left. It is negative if frequent pages were stored beyond it.
    level: f64,
    refilled_at: Option<Moment>,
}

/// The limits of a budget, in pages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NewPageLimit {
    /// The level at first. It is not reached again.
    start: f64,
    /// The maximum level after that.
    burst: f64,
    per_second: f64,
    /// After so many pages beyond the budget, a page must have been requested once more.
    step: f64,
}

/// The capacity in entries that is assumed for a store without a limit. Servers with a limit in
/// bytes hold about as many pages.
const ASSUMED_ENTRIES: u64 = 10_000;
/// The number of requests that is always enough.
const MAX_USES: u8 = 16;

impl NewPageLimit {
    /// The limit for a store of `entries`.
    ///
    /// A page needs two [entries](NewEntries). The first pages after the start fit in two thirds of
    /// the store, which is what a cull leaves. After that, a burst takes a fifth of the store, and
    /// sustained traffic takes 75 seconds to replace it: pages that are requested more often than
    /// that stay in a store that evicts by use.
    fn of_entries(entries: u64) -> Self {
        let entries = entries.max(1) as f64;
        Self {
            start: (entries / 3.0).max(1.0),
            burst: (entries / 10.0).max(1.0),
            per_second: (entries / 150.0).max(1.0),
            step: (entries / 30.0).max(1.0),
        }
    }

    pub(crate) fn new(burst: u32, per_second: u32) -> Self {
        let (burst, per_second) = (f64::from(burst), f64::from(per_second));
        Self { start: burst, burst, per_second, step: (burst / 3.0).max(1.0) }
    }
}

impl Budget {
    fn new(limit: NewPageLimit) -> Self {
        Self { limit, level: limit.start, refilled_at: None }
    }

    fn refill(&mut self, now: Moment) {
        let elapsed = self.refilled_at.map_or(0.0, |last| now.since(last).as_secs_f64());
        self.refilled_at = Some(now);
        let NewPageLimit { burst, per_second, .. } = self.limit;
        if self.level < burst {
            self.level = (self.level + elapsed * per_second).min(burst);
        }
    }

    /// How often a page must have been requested, including the request that produces it.
    fn required_uses(&self) -> u8 {
        if self.level >= 1.0 {
            return 1;
        }
        // The cast saturates.
        (2 + (-self.level / self.limit.step) as u8).min(MAX_USES)
    }

    fn take(&mut self, cost: f64) {
        let debt = f64::from(MAX_USES) * self.limit.step;
        self.level = (self.level - cost).max(-debt);
    }
}

impl NewEntries {
    /// The number of entries, in pages of two entries.
    fn cost(self) -> f64 {
        match self {
            Self::Page => 1.0,
            Self::FirstVariant => 1.5,
            Self::FurtherVariant => 0.5,
        }
    }
}

impl Admission {
    pub(crate) fn new(limit: Option<NewPageLimit>) -> Self {
        let state = State { uses: UseCounts::new(), budget: limit.map(Budget::new) };
        Self { state: Mutex::new(state), hasher: RandomState::default() }
    }

    /// The admission of a store, with the default limit. Layers for views often are on the same
    /// store, which has only one capacity.
    pub(crate) fn of_store(cache: &CacheHandle) -> Arc<Self> {
        /// By the addresses of the stores. A layer that uses an admission keeps its store alive, so
        /// an address belongs to one store as long as its admission exists.
        static ADMISSIONS: Mutex<Vec<(usize, Weak<Admission>)>> = Mutex::new(Vec::new());
        let address = Arc::as_ptr(cache.store()).cast::<()>().addr();
        let mut admissions = ADMISSIONS.lock();
        admissions.retain(|(_, admission)| admission.strong_count() > 0);
        let known = admissions.iter().find(|(other, _)| *other == address);
        if let Some(admission) = known.and_then(|(_, admission)| admission.upgrade()) {
            return admission;
        }
        let entries = cache.store().max_entries().unwrap_or(ASSUMED_ENTRIES);
        let admission = Arc::new(Self::new(Some(NewPageLimit::of_entries(entries))));
        admissions.push((address, Arc::downgrade(&admission)));
        admission
    }

    pub(crate) fn page_id(&self, key: &StoreKey) -> PageId {
        PageId(self.hasher.hash_one(&**key))
    }

    /// Records a request for a page that is not in the store.
    pub(crate) fn record_miss(&self, page: PageId) {
        self.state.lock().uses.record(page.0);
    }

    /// Records that a page was found in the store, or belongs there.
    pub(crate) fn record_hit(&self, page: PageId) {
        let uses = &mut self.state.lock().uses;
        uses.record(page.0);
        uses.set_admitted(page.0);
    }

    /// How often a page was requested lately.
    pub(crate) fn uses(&self, page: PageId) -> u8 {
        self.state.lock().uses.get(page.0).count
    }

    /// Decides whether a new page is stored, after its request was recorded.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::MinUses`] if the page was requested less than `min_uses` times, and
    /// [`Reason::NewPageLimit`] if the budget does not suffice.
    pub(crate) fn admit(
        &self,
        page: PageId,
        entries: NewEntries,
        min_uses: u8,
        now: Moment,
    ) -> Result<(), Reason> {
        let state = &mut *self.state.lock();
        let uses = state.uses.get(page.0);
        if uses.admitted {
            return Ok(());
        }
        // This request may have been forgotten because of many others.
        let count = uses.count.max(1);
        if count < min_uses {
            return Err(Reason::MinUses);
        }
        if let Some(budget) = &mut state.budget {
            budget.refill(now);
            if count < budget.required_uses() {
                return Err(Reason::NewPageLimit);
            }
            budget.take(entries.cost());
        }
        state.uses.set_admitted(page.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::{ManualClock, Settings};
    use cache_locmem::LocMemCache;

    use super::*;

    const LIMIT: NewPageLimit = NewPageLimit { start: 5.0, burst: 2.0, per_second: 1.0, step: 2.0 };

    struct Pages {
        admission: Admission,
        time: ManualClock,
        new: u64,
    }

    impl Pages {
        fn new() -> Self {
            Self { admission: Admission::new(Some(LIMIT)), time: ManualClock::new(), new: 0 }
        }

        fn request(&self, page: u64) -> bool {
            self.admission.record_miss(PageId(page));
            self.admission.admit(PageId(page), NewEntries::Page, 1, self.time.clock().now()).is_ok()
        }

        /// How many pages that are requested `uses` times are admitted, until one is not.
        fn admitted_after(&mut self, uses: u8) -> usize {
            let admitted = std::iter::from_fn(|| {
                self.new += 1;
                // Pages in buckets of their own.
                let page = PageId((self.new % 2048) | (self.new << 41));
                (0..uses).for_each(|_| self.admission.record_miss(page));
                self.admission.admit(page, NewEntries::Page, 1, self.time.clock().now()).ok()
            });
            admitted.take(1000).count()
        }
    }

    #[test]
    fn new_pages_draw_on_a_budget_that_refills_up_to_the_burst() {
        let mut pages = Pages::new();
        assert_eq!(pages.admitted_after(1), 5);
        pages.time.advance(Duration::from_secs(1));
        assert_eq!(pages.admitted_after(1), 1);
        pages.time.advance(Duration::from_secs(60));
        assert_eq!(pages.admitted_after(1), 2);
    }

    #[test]
    fn pages_must_be_requested_more_often_the_more_are_stored_beyond_the_budget() {
        let mut pages = Pages::new();
        assert_eq!([1, 2, 3, 4].map(|uses| pages.admitted_after(uses)), [5, 2, 2, 2]);
        assert_eq!(pages.admitted_after(MAX_USES), 1000, "often enough");
        pages.time.advance(Duration::from_secs(60));
        assert_eq!(pages.admitted_after(1), 2, "debts are limited");
    }

    #[test]
    fn variants_draw_on_the_budget_by_their_entries() {
        let pages = Pages::new();
        let now = pages.time.clock().now();
        let mut variants = (0..).map(|page| {
            let entries =
                if page == 0 { NewEntries::FirstVariant } else { NewEntries::FurtherVariant };
            pages.admission.admit(PageId(page), entries, 1, now)
        });
        assert_eq!(variants.position(|admitted| admitted.is_err()), Some(1 + 6));
    }

    #[test]
    fn page_that_was_admitted_or_found_is_not_new() {
        let mut pages = Pages::new();
        assert!(pages.request(u64::MAX));
        pages.admission.record_hit(PageId(u64::MAX >> 1));
        pages.admitted_after(MAX_USES);
        assert!(pages.request(u64::MAX) && pages.request(u64::MAX >> 1));
        assert!(!pages.request(u64::MAX >> 2));
    }

    #[test]
    fn page_is_admitted_after_the_minimum_number_of_uses() {
        let admission = Admission::new(None);
        let admit = || {
            admission.record_miss(PageId(1));
            admission.admit(PageId(1), NewEntries::Page, 3, ManualClock::new().clock().now())
        };
        assert_eq!(
            [admit(), admit(), admit()],
            [Err(Reason::MinUses), Err(Reason::MinUses), Ok(())]
        );
    }

    #[test]
    fn layers_on_one_store_share_its_admission() {
        let cache =
            || CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
        let (one, other) = (cache(), cache());
        let of_one = Admission::of_store(&one);
        assert!(Arc::ptr_eq(&of_one, &Admission::of_store(&one.clone())));
        assert!(!Arc::ptr_eq(&of_one, &Admission::of_store(&other)));
    }
}
