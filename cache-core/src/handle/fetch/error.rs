//! Why a `fetch` returned no value.

use std::{convert::Infallible, error, fmt, sync::Arc};

use crate::Error;

/// An error of [`fetch`](crate::CacheHandle::fetch) or
/// [`try_fetch`](crate::CacheHandle::try_fetch).
///
/// A stale value is returned instead, if there is one.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError<E = Infallible> {
    /// The producer has failed. All callers that waited for it share its error.
    Produce(Arc<E>),
    /// The producer took longer than the [`hard_timeout`](crate::Fetch::hard_timeout). It continues
    /// and stores its value.
    TimedOut,
    /// The producer has panicked, or the `Serialize` of its value.
    Panicked,
    /// The cache has failed: see the [errors of a handle](crate::CacheHandle#errors).
    Cache(Error),
}

impl<E> From<Error> for FetchError<E> {
    fn from(error: Error) -> Self {
        Self::Cache(error)
    }
}

impl<E> fmt::Display for FetchError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Produce(_) => f.write_str("cannot produce the value"),
            Self::TimedOut => f.write_str("timed out waiting for the value to be produced"),
            Self::Panicked => f.write_str("producing or encoding the value has panicked"),
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl<E: error::Error + 'static> error::Error for FetchError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Produce(error) => Some(&**error),
            Self::TimedOut | Self::Panicked => None,
            Self::Cache(error) => error.source(),
        }
    }
}
