//! Leases: the exclusive right to store the value of a key.

use std::{any::Any, fmt, time::Duration};

use async_trait::async_trait;

use crate::{Result, Value};

/// The leases of a store.
///
/// A lease is the right to store a value under one key. It ends if anything is written, deleted or
/// counted under the key, and by time. A caller that produces a value acquires a lease before it
/// reads its sources and stores through the lease. Then two callers do not produce at once, and a
/// value that was produced before a `set` or a `delete` is never stored after it.
///
/// A store offers leases by returning `Some` from [`Cache::leases`](crate::Cache::leases). The
/// crate `cache-conformance` tests this contract in its group `leases`.
///
/// # Contract
///
/// **What ends a lease.** After one of these operations on the key, from any process that shares
/// the store, [`fill`](Self::fill) stores nothing and returns `false`:
///
/// - a `set`, and an `add` that succeeded;
/// - an `incr` that changed a number, and an `incr_or_set`;
/// - a `delete`, also of an absent key, and `clear`;
/// - a `fill` through another lease;
/// - the end of the time that the lease was acquired for.
///
/// The same holds for the forms with several keys and for `set_now`. A `touch` or `get_and_touch`
/// of an entry changes no value: it does not end a lease. Expiry and eviction of the entry may end
/// the lease. A store may miss a write of exactly the bytes that it held before, because a fill
/// then replaces nothing newer.
///
/// **Exclusion.** While a lease is held, [`acquire`](Self::acquire) grants no other lease of the
/// key. A store may break this rule if it loses its own record of a lease, for example in a
/// restart. Two callers then produce, and at most one of the two fills stores.
///
/// **A lease is not an entry.** If the key is absent, it stays absent for every operation while a
/// lease is held: `get`, `get_many`, `get_now`, `get_and_touch`, `contains`, `ttl`, `touch` and
/// `incr` treat it as absent, `add` succeeds, and `incr_or_set` stores its initial value. There is
/// one exception: `delete` may return `true`. `touch`, `get_and_touch` and `incr` of the absent key
/// may end the lease.
///
/// **Time.** `hold` and `keep` count from the call and are rounded up to the resolution of the
/// store. No method waits for another holder. A lease whose holder has died ends after `hold`.
/// Nothing extends it: a caller that needs longer loses its lease, and its fill stores nothing. If
/// the server cannot end a lease by time, the store compares the clock of this process before it
/// sends the fill.
///
/// **Cancel safety.** As for [`Cache`](crate::Cache), an operation whose future was dropped has
/// happened completely or not at all. If it was `acquire`, the key may be leased for the time of
/// `hold`, and nobody can fill it through a lease until then, unless somebody
/// [revokes](Self::revoke) it.
///
/// **Errors** are those of [`Cache`](crate::Cache). After an error of `fill` or `release` the lease
/// may still be held on the server, and ends by time.
///
/// # Wrappers
///
/// A wrapper that forwards `leases` does not see the values that are read by `acquire` and stored
/// by `fill`. If it changes keys or values, counts calls, or injects faults, it implements
/// `Leases` itself, calls those of the store inside, and returns itself if these exist:
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use cache_core::{Acquired, Ask, Cache, Lease, Leases, Result, Value, async_trait};
/// # use cache_core::forward_cache;
/// #[derive(Debug)]
/// struct Wrapper {
///     store: Arc<dyn Cache>,
/// }
///
/// impl Wrapper {
///     fn wrapped_leases(&self) -> &dyn Leases {
///         self.store.leases().expect("`leases` returned this wrapper")
///     }
/// }
///
/// #[deny(clippy::missing_trait_methods)]
/// impl Cache for Wrapper {
///     forward_cache!(self.store, except leases);
///
///     fn leases(&self) -> Option<&dyn Leases> {
///         self.store.leases().map(|_| self as &dyn Leases)
///     }
/// }
///
/// #[async_trait]
/// impl Leases for Wrapper {
///     async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
///         self.wrapped_leases().acquire(key, ask, hold).await
///     }
///     // `fill`, `release` and `revoke` in the same way.
/// #   async fn fill(
/// #       &self,
/// #       key: &str,
/// #       lease: Lease,
/// #       value: Value,
/// #       ttl: Option<Duration>,
/// #   ) -> Result<bool> {
/// #       self.wrapped_leases().fill(key, lease, value, ttl).await
/// #   }
/// #   async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
/// #       self.wrapped_leases().release(key, lease, keep).await
/// #   }
/// #   async fn revoke(&self, key: &str, side: &str) -> Result<()> {
/// #       self.wrapped_leases().revoke(key, side).await
/// #   }
/// }
/// ```
///
/// A wrapper that returns `None` is correct as well: callers then protect their fills within this
/// process only.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # use cache_core::{Acquired, Ask, Cache, Result, Value};
/// # async fn produce() -> Result<Value> { Ok(Value::Int(42)) }
/// # async fn get_or_fill(store: &dyn Cache) -> Result<Option<Value>> {
/// let leases = store.leases().expect("the store has leases");
/// let hold = Duration::from_secs(30);
/// let Acquired { value, lease } = leases.acquire("answer", Ask::Missing, hold).await?;
/// let Some(lease) = lease else {
///     return Ok(value); // a hit, or another caller produces the value
/// };
/// match produce().await {
///     Ok(fresh) => {
///         // If this returns `false`, something newer is stored. The caller still has its value.
///         leases.fill("answer", lease, fresh.clone(), None).await?;
///         Ok(Some(fresh))
///     }
///     Err(error) => {
///         leases.release("answer", lease, Duration::ZERO).await?;
///         Err(error)
///     }
/// }
/// # }
/// ```
#[async_trait]
pub trait Leases: Send + Sync {
    /// Returns the value stored under `key`, and a lease of the key if `ask` allows one and nobody
    /// holds one.
    ///
    /// Reading the value and granting the lease is one atomic step. The lease ends after `hold`,
    /// which is longer than zero.
    ///
    /// # Errors
    ///
    /// Those of [`Cache::get`](crate::Cache::get) and [`Cache::add`](crate::Cache::add), except
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge).
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired>;

    /// Stores a value if the lease is still valid, and returns whether it was stored.
    ///
    /// Like [`Cache::set`](crate::Cache::set) for the value and its time to live. A time of zero
    /// expires at once: it replaces an entry by none, and nobody sees the value. The comparison and
    /// the store are one atomic step. Both results end the lease.
    ///
    /// `lease` must be one of `key`, from the same store. Otherwise the result is `false`.
    ///
    /// # Errors
    ///
    /// Those of [`Cache::set`](crate::Cache::set). After
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge), the key may be absent or have the entry
    /// that it had before.
    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool>;

    /// Ends a lease after `keep`, without changing the entry. Zero ends it now.
    ///
    /// A caller whose production failed keeps the lease for a short time, so that the next attempt
    /// does not follow at once. `keep` may be longer than the time that remains. Writes end a lease
    /// that is kept like any other.
    ///
    /// Does nothing if the lease has ended, even if another one is held meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`Cache::delete`](crate::Cache::delete).
    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()>;

    /// Ends the lease of an entry, whoever holds it, without changing the entry.
    ///
    /// `side` is the key that [`Ask::Any`] has for it. For a caller that does not know whether it
    /// left a lease, because its `acquire` was cancelled or failed. If the lease was one of another
    /// caller, two callers may produce, and at most one of their fills stores.
    ///
    /// If the key is absent, its lease may stay. A [`delete`](crate::Cache::delete) ends that one.
    ///
    /// # Errors
    ///
    /// Those of [`Cache::delete`](crate::Cache::delete).
    async fn revoke(&self, key: &str, side: &str) -> Result<()>;
}

/// When [`Leases::acquire`] grants a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Only if the key is absent or expired: to produce a missing value.
    Missing,
    /// Also if there is a value: to replace it by a newer one.
    Any {
        /// A key of this lease alone, for stores that need a second record beside a value.
        ///
        /// No entry may be stored under it. A handle composes it with a reserved version. A store
        /// that does not need it ignores it.
        side: &'a str,
    },
}

/// The result of [`Leases::acquire`].
///
/// | `value` | `lease` | meaning |
/// |---|---|---|
/// | `None` | `Some` | the key is absent, and the caller may fill it |
/// | `None` | `None` | the key is absent, and another caller holds a lease |
/// | `Some` | `Some` | the caller may replace the value; only with [`Ask::Any`] |
/// | `Some` | `None` | a hit; with [`Ask::Any`], another caller holds a lease |
#[derive(Debug, Default)]
#[must_use = "a lease that is dropped keeps other callers out until its time ends"]
pub struct Acquired {
    /// The value stored under the key.
    pub value: Option<Value>,
    /// The lease, if it was granted.
    pub lease: Option<Lease>,
}

/// The right to store a value under one key, granted by [`Leases::acquire`].
///
/// Pass it to [`Leases::fill`] or [`Leases::release`] of the store that granted it. Dropping it
/// does not end it: the key then stays leased until the time that it was acquired for has passed. A
/// caller that may be cancelled hands it to another one.
///
/// # Implementing a store
///
/// A lease holds what the store needs to recognize it, which is opaque to everyone else:
///
/// ```
/// use cache_core::Lease;
///
/// struct Token(u64);
///
/// let lease = Lease::new(Token(7));
/// assert!(lease.downcast_ref::<Token>().is_some_and(|token| token.0 == 7));
/// assert!(lease.downcast_ref::<String>().is_none(), "a lease of another kind of store");
/// ```
///
/// Numbers of a store that several processes share are random, so that a number is not used again
/// after a restart.
#[must_use = "a lease that is dropped keeps other callers out until its time ends"]
pub struct Lease(Box<dyn Any + Send + Sync>);

impl Lease {
    /// Creates a lease that holds `token`.
    pub fn new<T: Any + Send + Sync>(token: T) -> Self {
        Self(Box::new(token))
    }

    /// Returns what the lease holds, or `None` if that is not a `T`.
    #[must_use]
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }

    /// Returns what the lease holds.
    ///
    /// # Errors
    ///
    /// Returns `self` if the lease does not hold a `T`.
    pub fn downcast<T: Any>(self) -> Result<T, Self> {
        self.0.downcast().map(|token| *token).map_err(Self)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}
