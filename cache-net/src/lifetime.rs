//! How long connections are used.

use std::time::Duration;

use tokio::time::Instant;

/// The maximum time for which a connection is used before it is renewed.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(300);
/// The time after which a renewal is tried again if it did not succeed.
pub(crate) const RETRY: Duration = Duration::from_secs(30);

/// The time for which a connection is used: five minutes, the same for every store.
///
/// The name of a server is resolved when a connection is opened, so a connection that is never
/// renewed stays with the server to which the name led once. Connections are therefore renewed even
/// if they are busy. The connection that is due remains in use until its successor is open, because
/// the name may lead to a server that is not ready yet.
///
/// # Examples
///
/// ```
/// use cache_net::Lifetime;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut lifetime = Lifetime::start();
/// if lifetime.begin_renewal() {
///     // Open another connection in the background.
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    renew_at: Instant,
}

impl Lifetime {
    /// Starts with a new connection. The time varies by a tenth, so that connections which were
    /// opened together are not renewed together.
    #[must_use]
    pub fn start() -> Self {
        Self { renew_at: Instant::now() + MAX_AGE.mul_f64(1.0 - fastrand::f64() / 10.0) }
    }

    /// Returns whether the connection must be renewed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        Instant::now() >= self.renew_at
    }

    /// Returns whether the caller must renew the connection now. If the renewal does not succeed, a
    /// later caller tries again after half a minute.
    #[must_use]
    pub fn begin_renewal(&mut self) -> bool {
        let has_passed = self.has_passed();
        if has_passed {
            self.renew_at = Instant::now() + RETRY;
        }
        has_passed
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn renewal_is_due_within_the_maximum_age() {
        let lifetimes: Vec<_> = (0..100).map(|_| Lifetime::start()).collect();
        advance(MAX_AGE.mul_f64(0.89)).await;
        assert!(lifetimes.iter().all(|lifetime| !lifetime.has_passed()));
        advance(MAX_AGE.mul_f64(0.11)).await;
        assert!(lifetimes.iter().all(Lifetime::has_passed));
    }

    #[tokio::test(start_paused = true)]
    async fn renewal_is_tried_once_at_a_time() {
        let mut lifetime = Lifetime::start();
        assert!(!lifetime.begin_renewal());
        advance(MAX_AGE).await;
        assert!(lifetime.begin_renewal());
        assert!(!lifetime.begin_renewal() && !lifetime.has_passed());
        advance(RETRY).await;
        assert!(lifetime.begin_renewal());
    }
}
