//! Listing keys and finding the place of an entry.

use std::{sync::Arc, vec};

use cache_core::{Inspector, KeyPages, KeyState, ListedKey, Location, Result, async_trait};
use redis::{Cmd, Pipeline, Value as Reply};

use super::{RedisCache, WRITE, head};
use crate::{
    failure::Failure,
    node::{Effect, Node},
    scan::Scan,
    value::MARK_HEAD,
};

#[async_trait]
impl Inspector for RedisCache {
    /// Lists the keys with SCAN, one primary after the other. A second request for each page
    /// distinguishes entries from the marks of leases.
    ///
    /// The server does not list expired entries. Without the option `namespace`, the keys are all
    /// those of the database.
    fn keys(&self, prefix: &str) -> Box<dyn KeyPages + '_> {
        let prefix = self.keyspace.key(prefix).into_owned();
        Box::new(Pages { cache: self, prefix, nodes: None, scan: None })
    }

    /// The place is the server, in a cluster also the slot, and otherwise the number of the
    /// database; with the option `namespace` also the key.
    async fn locate(&self, key: &str, side: &str) -> Result<Location> {
        let topology = &self.servers.topology;
        let (key, side) = (self.keyspace.key(key), self.keyspace.key(side));
        let (node, _) = topology.node(key.as_bytes()).await.map_err(Failure::into_error)?;
        let mut place = vec![("server".to_owned(), node.name().to_string())];
        if topology.is_single_shard() {
            place.push(("database".into(), node.target().login.db.to_string()));
        } else {
            place.push(("slot".into(), topology.server_of(key.as_bytes()).to_string()));
        }
        if !self.options().namespace.is_empty() {
            place.push(("key".into(), key.clone().into_owned()));
        }
        let commands = vec![
            (key.as_bytes(), strlen(&key)),
            (key.as_bytes(), head(&key)),
            (side.as_bytes(), head(&side)),
        ];
        let replies = topology.execute_all(commands, WRITE).await.map_err(Failure::into_error)?;
        let [size, key, side] = &*replies else {
            return Err(self.unexpected_reply(&Reply::Array(replies)));
        };
        let is_marked = is_mark(key);
        let size = match size {
            Reply::Int(size @ 1..) if !is_marked => u64::try_from(*size).ok(),
            _ => None,
        };
        Ok(Location { place, size, is_leased: Some(is_marked || is_mark(side)) })
    }
}

fn strlen(key: &str) -> Cmd {
    let mut command = redis::cmd("STRLEN");
    command.arg(key);
    command
}

/// Whether these are the first bytes of the mark of a lease.
fn is_mark(head: &Reply) -> bool {
    matches!(head, Reply::BulkString(head) if head[..] == MARK_HEAD)
}

/// The keys of all primaries.
struct Pages<'a> {
    cache: &'a RedisCache,
    /// With the namespace.
    prefix: String,
    /// The primaries that were not scanned yet. `None` before the first page.
    nodes: Option<vec::IntoIter<Arc<Node>>>,
    scan: Option<Scan>,
}

#[async_trait]
impl KeyPages for Pages<'_> {
    async fn next_page(&mut self) -> Result<Option<Vec<ListedKey>>> {
        loop {
            if let Some(scan) = &mut self.scan
                && let Some(keys) = scan.next().await.map_err(Failure::into_error)?
            {
                let node = Arc::clone(scan.node());
                return self.listed(&node, keys).await.map(Some).map_err(Failure::into_error);
            }
            let Some(node) = self.next_node().await.map_err(Failure::into_error)? else {
                return Ok(None);
            };
            self.scan = Some(Scan::new(&node, &self.prefix, Vec::new()));
        }
    }
}

impl Pages<'_> {
    async fn next_node(&mut self) -> Result<Option<Arc<Node>>, Failure> {
        if self.nodes.is_none() {
            self.nodes = Some(self.cache.servers.topology.primaries().await?.into_iter());
        }
        Ok(self.nodes.as_mut().and_then(Iterator::next))
    }

    /// Finds out which keys are marks.
    async fn listed(
        &self,
        node: &Arc<Node>,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<ListedKey>, Failure> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut heads = Pipeline::with_capacity(keys.len());
        for key in &keys {
            heads.cmd("GETRANGE").arg(key).arg(0).arg(MARK_HEAD.len() - 1);
        }
        let deadline = node.timeouts().deadline();
        // Errors concern single keys: those of another type than a string, and those that have
        // moved to another primary since they were listed.
        let heads = node.send(&heads, Effect::Idempotent, deadline).await?;
        let namespace = self.cache.options().namespace.len();
        let listed = keys.iter().zip(&heads).map(|(key, head)| ListedKey {
            key: String::from_utf8_lossy(&key[namespace..]).into_owned(),
            state: if is_mark(head) { KeyState::Lease } else { KeyState::Live },
        });
        Ok(listed.collect())
    }
}
