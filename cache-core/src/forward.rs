//! Forwarding of [`Cache`] methods, for wrappers.

use std::sync::Arc;

use crate::Cache;

/// The types in the expansion, which may have other names where the macro is used.
#[doc(hidden)]
pub mod __std {
    pub use std::{
        boxed::Box, future::Future, marker::Send, option::Option, pin::Pin, result::Result,
        time::Duration, vec::Vec,
    };
}

/// Implements the methods of [`Cache`] by calling those of a wrapped store.
///
/// Use it inside an `impl Cache` block, with or without `#[async_trait]`. `self.field` names the
/// field that holds the wrapped store, by value or as an `Arc<dyn Cache>`. Methods listed after
/// `except` are left out: write these yourself. A wrapper therefore states only what it changes and
/// loses nothing that the wrapped store does better. A name after `except` that is not a method of
/// `Cache` is a compile error.
///
/// [`inner`](Cache::inner) is the one method that is not forwarded: it returns the wrapped store.
///
/// A wrapper that changes what `get` does must usually change [`get_now`](Cache::get_now),
/// [`contains`](Cache::contains) and [`get_many`](Cache::get_many) as well, because callers use
/// them instead of `get` when they can. The same holds for `set`, [`set_now`](Cache::set_now) and
/// [`set_many`](Cache::set_many), for `incr` and [`incr_or_set`](Cache::incr_or_set), for `touch`
/// and [`get_and_touch`](Cache::get_and_touch), which is also a `get`, and for `delete` and
/// [`delete_many`](Cache::delete_many).
/// [`leases`](Cache::leases) read and store as well: see [their
/// wrappers](crate::Leases#wrappers). A wrapper that changes keys must not forward
/// [`inspector`](Cache::inspector).
///
/// Put `#[deny(clippy::missing_trait_methods)]` on the `impl`: clippy then reports a provided
/// method that is listed after `except` but not written, which would otherwise silently use the
/// default implementation.
///
/// # Performance
///
/// A forwarded method returns the future of the wrapped store as it is and allocates nothing.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use cache_core::{Cache, Result, async_trait, forward_cache};
///
/// /// Counts deletions.
/// #[derive(Debug)]
/// struct CountDeletes<C> {
///     store: C,
///     deletes: AtomicU64,
/// }
///
/// #[async_trait]
/// #[deny(clippy::missing_trait_methods)]
/// impl<C: Cache> Cache for CountDeletes<C> {
///     forward_cache!(self.store, except delete, delete_many);
///
///     async fn delete(&self, key: &str) -> Result<bool> {
///         self.deletes.fetch_add(1, Ordering::Relaxed);
///         self.store.delete(key).await
///     }
///
///     async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
///         self.deletes.fetch_add(keys.len() as u64, Ordering::Relaxed);
///         self.store.delete_many(keys).await
///     }
/// }
/// ```
///
/// A misspelt method does not compile:
///
/// ```compile_fail
/// # use cache_core::{Cache, forward_cache};
/// # #[derive(Debug)]
/// # struct Wrapper<C>(C);
/// impl<C: Cache> Cache for Wrapper<C> {
///     forward_cache!(self.0, except delete_man);
/// }
/// ```
#[macro_export]
macro_rules! forward_cache {
    (self.$field:tt $(, except $($except:ident),+)? $(,)?) => {
        $($($crate::__assert_method! { $except })+)?
        $crate::__forward_methods! { {$field} [$($($except)+)?] }
    };
}

/// Expands to every method of [`Cache`], with its signature as `async_trait` writes it.
///
/// The first argument is the field of the wrapped store, or nothing if `self` is a smart pointer to
/// it. The second lists the methods to leave out.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_methods {
    ($to:tt $except:tt) => {
        $crate::__forward_plain! { name $except $to () -> &str }
        $crate::__forward_plain! {
            get_now $except $to (key: &str)
            -> $crate::__std::Option<$crate::Result<$crate::__std::Option<$crate::Value>>>
        }
        $crate::__forward_plain! {
            set_now $except $to
            (
                key: &str,
                value: $crate::Value,
                ttl: $crate::__std::Option<$crate::__std::Duration>
            )
            -> $crate::__std::Result<$crate::Result<()>, $crate::Value>
        }
        $crate::__forward_plain! { keeps_objects $except $to () -> bool }
        $crate::__forward_plain! { max_entries $except $to () -> $crate::__std::Option<u64> }
        $crate::__forward_plain! { server_of $except $to (key: &str) -> usize }
        $crate::__forward_async! {
            get $except $to <'key> (key: &'key str) -> $crate::__std::Option<$crate::Value>
        }
        $crate::__forward_async! {
            set $except $to <'key>
            (
                key: &'key str,
                value: $crate::Value,
                ttl: $crate::__std::Option<$crate::__std::Duration>
            )
            -> ()
        }
        $crate::__forward_async! {
            add $except $to <'key>
            (
                key: &'key str,
                value: $crate::Value,
                ttl: $crate::__std::Option<$crate::__std::Duration>
            )
            -> bool
        }
        $crate::__forward_async! {
            touch $except $to <'key>
            (key: &'key str, ttl: $crate::__std::Option<$crate::__std::Duration>) -> bool
        }
        $crate::__forward_async! {
            incr $except $to <'key> (key: &'key str, delta: i64) -> $crate::__std::Option<i64>
        }
        $crate::__forward_async! { delete $except $to <'key> (key: &'key str) -> bool }
        $crate::__forward_async! {
            ttl $except $to <'key> (key: &'key str) -> $crate::__std::Option<$crate::Ttl>
        }
        $crate::__forward_async! { clear $except $to <> () -> () }
        $crate::__forward_async! { contains $except $to <'key> (key: &'key str) -> bool }
        $crate::__forward_async! {
            incr_or_set $except $to <'key>
            (
                key: &'key str,
                delta: i64,
                initial: i64,
                ttl: $crate::__std::Option<$crate::__std::Duration>
            )
            -> i64
        }
        $crate::__forward_async! {
            get_and_touch $except $to <'key>
            (key: &'key str, ttl: $crate::__std::Option<$crate::__std::Duration>)
            -> $crate::__std::Option<$crate::Value>
        }
        $crate::__forward_async! {
            get_many $except $to <'keys, 'key>
            (keys: &'keys [&'key str]) -> $crate::__std::Vec<$crate::__std::Option<$crate::Value>>
        }
        $crate::__forward_async! {
            set_many $except $to <'entries, 'key>
            (
                entries: &'entries [(&'key str, $crate::Value)],
                ttl: $crate::__std::Option<$crate::__std::Duration>
            )
            -> $crate::__std::Vec<usize>
        }
        $crate::__forward_async! {
            delete_many $except $to <'keys, 'key> (keys: &'keys [&'key str]) -> usize
        }
        $crate::__forward_async! { stats $except $to <> () -> $crate::Stats }
        $crate::__forward_async! {
            diagnose $except $to <> () -> $crate::__std::Vec<$crate::Finding>
        }
        $crate::__forward_async! {
            purge_expired $except $to <> (max: u64) -> $crate::__std::Option<u64>
        }
        $crate::__forward_async! { close $except $to <> () -> () }
        $crate::__forward_plain! {
            leases $except $to () -> $crate::__std::Option<&dyn $crate::Leases>
        }
        $crate::__forward_plain! {
            inspector $except $to () -> $crate::__std::Option<&dyn $crate::Inspector>
        }
        $crate::__assert_method! { inner }
        $crate::__unless! { inner $except {
            fn inner(&self) -> $crate::__std::Option<&dyn $crate::Cache> {
                $crate::__std::Option::Some($crate::__wrapped!(self $to))
            }
        } }
    };
}

/// Expands to a method that is not async, unless it is in the list.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_plain {
    ($method:ident $except:tt $to:tt ($($arg:ident: $type:ty),*) -> $output:ty) => {
        $crate::__assert_method! { $method }
        $crate::__unless! { $method $except {
            fn $method(&self $(, $arg: $type)*) -> $output {
                $crate::Cache::$method($crate::__wrapped!(self $to) $(, $arg)*)
            }
        } }
    };
}

/// Expands to an async method, unless it is in the list.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_async {
    (
        $method:ident $except:tt $to:tt <$($life:lifetime),*>
        ($($arg:ident: $type:ty),*) -> $output:ty
    ) => {
        $crate::__assert_method! { $method }
        $crate::__unless! { $method $except {
            fn $method<'this, $($life,)* 'future>(&'this self $(, $arg: $type)*)
                -> $crate::__std::Pin<$crate::__std::Box<
                    dyn $crate::__std::Future<Output = $crate::Result<$output>>
                        + $crate::__std::Send + 'future,
                >>
            where
                'this: 'future,
                $($life: 'future,)*
                Self: 'future,
            {
                $crate::Cache::$method($crate::__wrapped!(self $to) $(, $arg)*)
            }
        } }
    };
}

/// Expands to the wrapped store: a field, or what `self` points to.
#[doc(hidden)]
#[macro_export]
macro_rules! __wrapped {
    ($this:ident {$field:tt}) => {
        &$this.$field
    };
    ($this:ident {}) => {
        &**$this
    };
}

/// Expands to an item, unless its name is in the list.
///
/// A macro cannot compare two names that it is given, so each method has a rule with its own name.
/// `__assert_method` finds a method that has none.
#[doc(hidden)]
#[macro_export]
macro_rules! __unless {
    ($method:ident [] { $($item:tt)* }) => { $($item)* };
    (name [name $($rest:ident)*] $item:tt) => {};
    (get [get $($rest:ident)*] $item:tt) => {};
    (set [set $($rest:ident)*] $item:tt) => {};
    (add [add $($rest:ident)*] $item:tt) => {};
    (touch [touch $($rest:ident)*] $item:tt) => {};
    (incr [incr $($rest:ident)*] $item:tt) => {};
    (delete [delete $($rest:ident)*] $item:tt) => {};
    (ttl [ttl $($rest:ident)*] $item:tt) => {};
    (clear [clear $($rest:ident)*] $item:tt) => {};
    (get_now [get_now $($rest:ident)*] $item:tt) => {};
    (set_now [set_now $($rest:ident)*] $item:tt) => {};
    (keeps_objects [keeps_objects $($rest:ident)*] $item:tt) => {};
    (max_entries [max_entries $($rest:ident)*] $item:tt) => {};
    (server_of [server_of $($rest:ident)*] $item:tt) => {};
    (contains [contains $($rest:ident)*] $item:tt) => {};
    (incr_or_set [incr_or_set $($rest:ident)*] $item:tt) => {};
    (get_and_touch [get_and_touch $($rest:ident)*] $item:tt) => {};
    (get_many [get_many $($rest:ident)*] $item:tt) => {};
    (set_many [set_many $($rest:ident)*] $item:tt) => {};
    (delete_many [delete_many $($rest:ident)*] $item:tt) => {};
    (stats [stats $($rest:ident)*] $item:tt) => {};
    (diagnose [diagnose $($rest:ident)*] $item:tt) => {};
    (purge_expired [purge_expired $($rest:ident)*] $item:tt) => {};
    (close [close $($rest:ident)*] $item:tt) => {};
    (leases [leases $($rest:ident)*] $item:tt) => {};
    (inspector [inspector $($rest:ident)*] $item:tt) => {};
    (inner [inner $($rest:ident)*] $item:tt) => {};
    ($method:ident [$other:ident $($rest:ident)*] $item:tt) => {
        $crate::__unless! { $method [$($rest)*] $item }
    };
}

/// Expands to an error unless `__unless` has a rule for the name, that is, unless it is a method.
#[doc(hidden)]
#[macro_export]
macro_rules! __assert_method {
    ($method:ident) => {
        $crate::__unless! { $method [$method] {
            ::std::compile_error!(::std::concat!(
                "`", ::std::stringify!($method), "` is not a method of `Cache`"
            ));
        } }
    };
}

// `C: ?Sized` would cover both, but `inner` cannot turn an unsized `C` into a `dyn Cache`.

/// Forwards to the store.
#[deny(clippy::missing_trait_methods)]
impl<C: Cache> Cache for Arc<C> {
    __forward_methods! { {} [] }
}

/// Forwards to the store.
#[deny(clippy::missing_trait_methods)]
impl Cache for Arc<dyn Cache> {
    __forward_methods! { {} [] }
}
