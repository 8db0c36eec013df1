//! The command `purge`, on pages and tagged values that services have cached.

use cachette::{
    CacheHandle, Undecodable,
    http::{HttpCacheLayer, Purge as Kind, PurgeHandle},
};
use http::Uri;
use serde_json::json;

use super::Printer;
use crate::{Failure, Outcome, Result, args::Purge, terminal};

pub(super) async fn purge(cache: &CacheHandle, args: &Purge, printer: Printer) -> Result<Outcome> {
    if cache.store().keeps_objects() {
        return Err(in_memory(cache));
    }
    let kind = if args.soft { Kind::Soft } else { Kind::Hard };
    let pages = Pages { cache: cache.with_undecodable(Undecodable::Miss), args };
    let every_host = pages.handle(&[]);
    for uri in &args.uris {
        every_host.purge_uri(uri, kind).await?;
        // Layers that list their hosts have generations of their own for each host.
        let hosts = pages.hosts(uri);
        if hosts.is_empty() {
            terminal::print_note(&format!(
                "{uri} was not purged in layers that list their hosts: name them with --host"
            ));
        } else {
            pages.handle(&hosts).purge_uri(uri, kind).await?;
        }
    }
    for tag in &args.tags {
        every_host.purge_tag(tag, kind).await?;
    }
    for prefix in &args.prefixes {
        every_host.purge_prefix(prefix, kind).await?;
    }
    if args.all {
        every_host.purge_all(kind).await?;
    }
    let Purge { uris, tags, prefixes, all, soft, .. } = args;
    let purged =
        json!({"uris": uris, "tags": tags, "prefixes": prefixes, "all": all, "soft": soft});
    printer.print("", &json!({"purged": purged}))?;
    Ok(Outcome::Done)
}

/// The pages of the layers that the options describe.
struct Pages<'a> {
    cache: CacheHandle,
    args: &'a Purge,
}

impl Pages<'_> {
    /// The handle of a layer with these hosts.
    fn handle(&self, hosts: &[String]) -> PurgeHandle {
        let layer = HttpCacheLayer::new(&self.cache).key_prefix(&self.args.key_prefix);
        layer.hosts(hosts.iter().cloned()).purge_prefixes().purge_handle()
    }

    /// The hosts at which a URI is purged.
    fn hosts(&self, uri: &str) -> Vec<String> {
        let parsed: Option<Uri> = uri.parse().ok();
        match parsed.as_ref().and_then(Uri::host) {
            Some(host) => vec![host.to_owned()],
            None => self.args.hosts.clone(),
        }
    }
}

fn in_memory(cache: &CacheHandle) -> Failure {
    let (alias, store) = (cache.alias(), cache.store().name());
    let failure = Failure::new(format!(
        "cache {alias:?} ({store}) keeps its pages in the memory of each service, which this \
         command cannot reach"
    ));
    failure.with_help(
        "purge them in the service, with a `PurgeHandle` or a request to its `PurgeService`, or \
         configure a store that processes share",
    )
}
