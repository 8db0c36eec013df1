//! Leases within this process, for a store that has none and for `share = "process"`.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    Acquired, Ask, Cache, Clock, Lease, Leases, Moment, Result, Share, Value, key::Composer,
    observe::Observed,
};

/// Leases that the writes of one handle, its clones and the handles derived from it end.
///
/// Writes of other processes and of other handles do not end them. A fill of an absent key uses
/// `add`, so it replaces nothing that others have stored, but it can bring back what they deleted.
///
/// With [`Share::Store`], a holder also adds the side key of the lease, so that other processes
/// wait for its value.
#[derive(Debug)]
pub(in crate::handle) struct LocalLeases {
    store: Arc<dyn Cache>,
    /// The store, if it is observed: a lookup here is part of acquiring a lease.
    observed: Option<Observed>,
    clock: Clock,
    composer: Composer,
    share: Share,
    is_used: bool,
    table: Arc<Table>,
}

impl LocalLeases {
    pub(in crate::handle) fn new(
        store: &Arc<dyn Cache>,
        clock: Clock,
        composer: Composer,
        share: Share,
    ) -> Self {
        let is_used = share == Share::Process || store.leases().is_none();
        let observed = (&**store as &dyn Any).downcast_ref::<Observed>().cloned();
        Self {
            store: Arc::clone(store),
            observed,
            clock,
            composer,
            share,
            is_used,
            table: Arc::default(),
        }
    }

    /// Creates leases with the same settings that know nothing of the leases of these.
    pub(in crate::handle) fn separate(&self, store: &Arc<dyn Cache>, clock: Clock) -> Self {
        Self::new(store, clock, self.composer.clone(), self.share)
    }

    /// Whether these leases are used instead of those of the store.
    #[inline]
    pub(in crate::handle) fn is_used(&self) -> bool {
        self.is_used
    }

    #[cfg(test)]
    pub(super) fn share(&self) -> Share {
        self.share
    }

    /// Returns the number of leases.
    #[cfg(test)]
    pub(in crate::handle) fn len(&self) -> usize {
        self.table.lock().leases.len()
    }

    /// Whether nothing is left of a lease that was dropped.
    pub(in crate::handle) fn end_on_drop(&self) -> bool {
        self.is_used && self.share == Share::Process
    }

    /// Whether a write may have to end a lease. If not, the methods below need not be called.
    #[inline]
    pub(in crate::handle) fn has_any(&self) -> bool {
        self.table.has_any.load(Relaxed)
    }

    /// Ends the lease of a key, after its fill if that is storing.
    pub(super) async fn end(&self, key: &str) {
        poll_fn(|context| self.table.poll_end(key, context)).await;
    }

    /// Ends all leases, after the fills that are storing.
    pub(super) async fn end_all(&self) {
        poll_fn(|context| self.table.poll_end_all(context)).await;
    }

    /// Ends the lease of a key, unless its fill is storing.
    pub(super) fn end_now(&self, key: &str) {
        self.table.change(|leases| {
            if leases.get(key).is_some_and(|held| held.storing.is_none()) {
                leases.remove(key);
            }
        });
    }

    /// Ends all leases whose fills are not storing.
    pub(super) fn end_all_now(&self) {
        self.table.change(|leases| leases.retain(|_, held| held.storing.is_some()));
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        match &self.observed {
            Some(observed) => observed.get_again(key).await,
            None => self.store.get(key).await,
        }
    }

    fn side_of(&self, key: &str) -> Option<String> {
        (self.share == Share::Store).then(|| self.composer.lease_side(key))
    }

    /// Lets other processes acquire the lease. If the store fails, the record ends by time.
    async fn remove_side(&self, side: Option<String>) {
        if let Some(side) = side
            && let Err(error) = self.store.delete(&side).await
        {
            tracing::debug!(
                error = format_args!("{error:#}"),
                "cannot remove the record of a lease"
            );
        }
    }
}

#[async_trait]
impl Leases for LocalLeases {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        let now = self.clock.now();
        let Some(mut token) = Table::grant(&self.table, key, now, now + hold) else {
            return Ok(Acquired { value: self.get(key).await?, lease: None });
        };
        if let Some(side) = self.side_of(key) {
            if !self.store.add(&side, Value::Int(1), Some(hold)).await? {
                drop(token);
                return Ok(Acquired { value: self.get(key).await?, lease: None });
            }
            token.side = Some(side);
        }
        // After other processes are kept out, so that the value is the latest one.
        let value = self.get(key).await?;
        if value.is_some() && ask == Ask::Missing {
            self.remove_side(token.side.take()).await;
            return Ok(Acquired { value, lease: None });
        }
        token.replaces = value.is_some();
        Ok(Acquired { value, lease: Some(Lease::new(token)) })
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let Ok(mut token) = lease.downcast::<Token>() else { return Ok(false) };
        if !token.is_of(&self.table, key) {
            return Ok(false);
        }
        let now = self.clock.now();
        let stored = match token.start_storing(now) {
            false => false,
            true if token.replaces && ttl == Some(Duration::ZERO) => {
                self.store.delete(key).await.map(|_| true)?
            }
            true if token.replaces => self.store.set(key, value, ttl).await.map(|()| true)?,
            true => self.store.add(key, value, ttl).await?,
        };
        // After the lease has ended, the record may be that of another process.
        let side = token.side.take().filter(|_| now < token.until);
        drop(token);
        self.remove_side(side).await;
        Ok(stored)
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        let Ok(mut token) = lease.downcast::<Token>() else { return Ok(()) };
        let now = self.clock.now();
        if !token.is_of(&self.table, key) || now >= token.until {
            return Ok(());
        }
        let side = token.side.take();
        if keep == Duration::ZERO {
            drop(token);
            self.remove_side(side).await;
            return Ok(());
        }
        token.keep(now + keep);
        match side {
            Some(side) => self.store.touch(&side, Some(keep)).await.map(drop),
            None => Ok(()),
        }
    }

    /// Removes the record. The lease itself has ended when its token was dropped.
    async fn revoke(&self, key: &str, _: &str) -> Result<()> {
        match self.side_of(key) {
            Some(side) => self.store.delete(&side).await.map(drop),
            None => Ok(()),
        }
    }
}

/// What a lease holds. The lease ends if it is dropped.
struct Token {
    table: Arc<Table>,
    key: Arc<str>,
    /// `None` once the lease ends by time only.
    number: Option<u64>,
    until: Moment,
    /// Whether the key had a value.
    replaces: bool,
    /// The record in the store that keeps other processes out.
    side: Option<String>,
}

impl Token {
    fn is_of(&self, table: &Arc<Table>, key: &str) -> bool {
        Arc::ptr_eq(&self.table, table) && *self.key == *key
    }

    /// Makes writes wait until the token is dropped. Returns `false` if the lease has ended.
    fn start_storing(&self, now: Moment) -> bool {
        self.table.change(|leases| match leases.get_mut(&self.key) {
            Some(held) if Some(held.number) == self.number && now < held.until => {
                held.storing = Some(Vec::new());
                true
            }
            _ => false,
        })
    }

    fn keep(mut self, until: Moment) {
        self.table.change(|leases| {
            if let Some(held) = leases.get_mut(&self.key)
                && Some(held.number) == self.number
            {
                held.until = until;
            }
        });
        self.number = None;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let ended = self.table.change(|leases| {
            let held = leases.get(&self.key)?;
            if Some(held.number) == self.number { leases.remove(&self.key) } else { None }
        });
        for writer in ended.and_then(|held| held.storing).into_iter().flatten() {
            writer.wake();
        }
    }
}

#[derive(Default)]
struct Table {
    /// Whether there are leases: the only thing that a write looks at.
    ///
    /// Relaxed is enough: if a write does not see a lease, the read that followed the grant sees
    /// the write, as the store orders both.
    has_any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    leases: HashMap<Arc<str>, Held>,
    last_number: u64,
    /// The number of leases at which those that have ended are removed.
    purge_at: usize,
}

struct Held {
    number: u64,
    until: Moment,
    /// Set while the fill stores: the writes that wait for it.
    storing: Option<Vec<Waker>>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<Arc<str>, Held>) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state.leases);
        self.has_any.store(!state.leases.is_empty(), Relaxed);
        changed
    }

    fn grant(table: &Arc<Self>, key: &str, now: Moment, until: Moment) -> Option<Token> {
        let mut state = table.lock();
        let is_held = |held: &Held| now < held.until || held.storing.is_some();
        if state.leases.get(key).is_some_and(is_held) {
            return None;
        }
        if state.leases.len() >= state.purge_at {
            state.leases.retain(|_, held| is_held(held));
            state.purge_at = 2 * state.leases.len() + 16;
        }
        state.last_number += 1;
        let number = state.last_number;
        let key: Arc<str> = key.into();
        state.leases.insert(Arc::clone(&key), Held { number, until, storing: None });
        table.has_any.store(true, Relaxed);
        let table = Arc::clone(table);
        Some(Token { table, key, number: Some(number), until, replaces: false, side: None })
    }

    fn poll_end(&self, key: &str, context: &Context<'_>) -> Poll<()> {
        self.change(|leases| {
            let Some(held) = leases.get_mut(key) else { return Poll::Ready(()) };
            if let Some(writers) = &mut held.storing {
                writers.push(context.waker().clone());
                return Poll::Pending;
            }
            leases.remove(key);
            Poll::Ready(())
        })
    }

    fn poll_end_all(&self, context: &Context<'_>) -> Poll<()> {
        self.change(|leases| {
            leases.retain(|_, held| held.storing.is_some());
            for writers in leases.values_mut().filter_map(|held| held.storing.as_mut()) {
                writers.push(context.waker().clone());
            }
            if leases.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}
