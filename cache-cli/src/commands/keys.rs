//! The command `keys`.

use cachette::{
    CacheHandle, Error, ErrorKind, KeyPages, KeyState, ListedKey, async_trait,
    stores::{DummyCache, LocMemCache, MemcachedCache, RedisCache},
};
use serde_json::json;

use super::Printer;
use crate::{
    Failure, Outcome, Result,
    args::Keys,
    terminal::{self, visible},
};

/// Prints keys page by page, so that memory is bounded and the first ones appear at once. It is a
/// miss if there are none.
pub(super) async fn list(cache: &CacheHandle, args: &Keys, printer: Printer) -> Result<Outcome> {
    if args.expired && has_no_expired_entries(cache) {
        let store = cache.store().name();
        terminal::print_note(&format!("the {store} store removes expired entries itself"));
        return Ok(Outcome::Miss);
    }
    let mut pages = pages(cache, args)?;
    let mut left = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut is_empty = true;
    while let Some(mut page) = pages.next_page().await.map_err(|error| explain(cache, error))? {
        page.retain(|listed| args.includes(listed.state));
        is_empty &= page.is_empty();
        let has_more = page.len() as u64 > left;
        page.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= page.len() as u64;
        print(&page, printer)?;
        if has_more {
            terminal::print_note(&format!(
                "there are more than {} keys: raise --limit, or choose some with --prefix",
                args.limit
            ));
            break;
        }
    }
    if is_empty {
        let alias = cache.alias();
        terminal::print_note_on_terminal(&format!("no such keys in cache {alias:?}"));
    }
    Ok(Outcome::done_if(!is_empty))
}

impl Keys {
    fn includes(&self, state: KeyState) -> bool {
        match state {
            KeyState::Live => !self.expired,
            KeyState::Expired => self.expired || self.all,
            KeyState::Lease => self.all && !self.expired,
        }
    }
}

fn print(page: &[ListedKey], printer: Printer) -> Result<()> {
    let line = |listed: &ListedKey| {
        if printer.is_json() {
            json!({"key": listed.key, "state": name(listed.state)}).to_string()
        } else {
            visible(&listed.key).into_owned()
        }
    };
    let lines: Vec<String> = page.iter().map(line).collect();
    if lines.is_empty() { Ok(()) } else { terminal::print(lines.join("\n")) }
}

fn name(state: KeyState) -> &'static str {
    match state {
        KeyState::Live => "live",
        KeyState::Expired => "expired",
        KeyState::Lease => "lease",
    }
}

fn has_no_expired_entries(cache: &CacheHandle) -> bool {
    let store = cache.store();
    store.downcast_ref::<RedisCache>().is_some() || store.downcast_ref::<MemcachedCache>().is_some()
}

/// The pages of the selected keys.
fn pages<'a>(cache: &'a CacheHandle, args: &Keys) -> Result<Box<dyn KeyPages + 'a>> {
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let inspector = cache.store().inspector().ok_or_else(|| cannot_list(cache))?;
    if args.all {
        return Ok(Box::new(Composed { cache, pages: inspector.keys(prefix) }));
    }
    match cache.keys(prefix) {
        Some(keys) => Ok(Box::new(Callers(keys))),
        None => Err(Failure::new(format!(
            "the KEY_FUNCTION of cache {:?} does not tell its keys from others",
            cache.alias()
        ))
        .with_help("list all keys of the store as it has them, with --all")),
    }
}

/// The keys of a cache, as callers know them.
struct Callers<'a>(cachette::Keys<'a>);

#[async_trait]
impl KeyPages for Callers<'_> {
    async fn next_page(&mut self) -> cachette::Result<Option<Vec<ListedKey>>> {
        self.0.next_page().await
    }
}

/// All keys of a store, whose errors get the name of the cache.
struct Composed<'a> {
    cache: &'a CacheHandle,
    pages: Box<dyn KeyPages + 'a>,
}

#[async_trait]
impl KeyPages for Composed<'_> {
    async fn next_page(&mut self) -> cachette::Result<Option<Vec<ListedKey>>> {
        let page = self.pages.next_page().await;
        page.map_err(|error| error.in_cache(self.cache.alias()))
    }
}

/// Adds what to do about a server that does not list its keys.
fn explain(cache: &CacheHandle, error: Error) -> Failure {
    let is_rejected = error.kind() == ErrorKind::Backend;
    if !is_rejected || cache.store().downcast_ref::<MemcachedCache>().is_none() {
        return error.into();
    }
    let help = if error.is_temporary() {
        "try again: another client lists the keys of this server"
    } else {
        "start the server without `-o no_lru_crawler`, and connect to it without a proxy"
    };
    Failure::from(error).with_help(help)
}

fn cannot_list(cache: &CacheHandle) -> Failure {
    let store = cache.store();
    let name = format!("cache {:?} ({})", cache.alias(), store.name());
    if store.downcast_ref::<LocMemCache>().is_some() {
        let failure = Failure::new(format!(
            "{name} keeps its entries in the memory of each process: this process has no entries \
             to list"
        ));
        return failure.with_help("configure a store that processes share");
    }
    if store.downcast_ref::<DummyCache>().is_some() {
        return Failure::new(format!("{name} stores nothing: there are no entries to list"));
    }
    Failure::new(format!("{name} cannot list its keys"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn included(all: bool, expired: bool) -> Vec<KeyState> {
        let args = Keys { prefix: None, limit: 0, expired, all };
        let states = [KeyState::Live, KeyState::Expired, KeyState::Lease];
        states.into_iter().filter(|state| args.includes(*state)).collect()
    }

    #[test]
    fn options_select_live_keys_expired_keys_or_all() {
        assert_eq!(included(false, false), [KeyState::Live]);
        assert_eq!(included(false, true), [KeyState::Expired]);
        assert_eq!(included(true, true), [KeyState::Expired]);
        assert_eq!(included(true, false), [KeyState::Live, KeyState::Expired, KeyState::Lease]);
    }
}
