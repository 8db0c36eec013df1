//! The caches that a command is about.

use std::collections::BTreeMap;

use cachette::{CacheHandle, Caches, CachesBuilder, Error, Undecodable, Version};

use crate::{Failure, Outcome, Result, args::Cli, terminal};

/// The caches of the configuration, and what is wrong with those that could not be made.
pub(crate) struct Ours {
    caches: Caches,
    mistakes: BTreeMap<String, Error>,
    alias: Option<String>,
    version: Option<Version>,
}

/// The alias, and its cache or why it can't be had.
pub(crate) type Found = (String, Result<CacheHandle>);

impl Ours {
    pub(crate) async fn open(cli: &Cli) -> Result<Self> {
        let (caches, mistakes) = configuration(cli).build_partial().await?;
        if caches.aliases().next().is_none() && mistakes.is_empty() {
            return Err(no_caches(cli));
        }
        let ours =
            Self { caches, mistakes, alias: cli.cache.clone(), version: cli.key_version.clone() };
        match &ours.alias {
            Some(alias) if !ours.mistakes.contains_key(alias) => {
                ours.caches.get(alias).map(drop)?
            }
            _ => {}
        }
        Ok(ours)
    }

    /// The one that was asked for.
    pub(crate) fn alias(&self) -> Option<&str> {
        self.alias.as_deref()
    }

    /// All caches that could be made.
    pub(crate) fn caches(&self) -> &Caches {
        &self.caches
    }

    /// The cache that is meant where one is. What does not read in it is an error, not a miss.
    pub(crate) fn one(mut self) -> Result<CacheHandle> {
        let alias = self.alias.as_deref().unwrap_or("default");
        if let Some(mistake) = self.mistakes.remove(alias) {
            return Err(mistake.into());
        }
        let cache = self.caches.get(alias)?.with_undecodable(Undecodable::Error);
        Ok(match self.version {
            Some(version) => cache.version(version),
            None => cache,
        })
    }

    /// The caches that are meant where several may be.
    pub(crate) fn some(self) -> impl Iterator<Item = Found> {
        let made = self.caches.iter().map(|cache| (cache.alias().to_owned(), Ok(cache.clone())));
        let mut all: BTreeMap<String, Result<CacheHandle>> = made.collect();
        all.extend(self.mistakes.into_iter().map(|(alias, mistake)| (alias, Err(mistake.into()))));
        all.into_iter()
            .filter(move |(alias, _)| self.alias.as_ref().is_none_or(|wanted| wanted == alias))
    }

    /// All caches that could be made, and the mistakes of the others.
    pub(crate) fn all(self) -> (Caches, Failures) {
        (self.caches, Failures(self.mistakes.into_values().map(Failure::from).collect()))
    }
}

/// Where the caches are configured.
fn configuration(cli: &Cli) -> CachesBuilder {
    let builder = Caches::builder().without_default();
    match &cli.config {
        Some(file) => builder.file(file),
        None => builder.env(),
    }
}

/// That there is nothing to look after is hardly what was meant.
fn no_caches(cli: &Cli) -> Failure {
    match &cli.config {
        Some(file) => Failure::new(format!("{}: no caches are configured", file.display()))
            .with_remedy("give each cache a table there, under its alias: `default` is the first"),
        None => Failure::new("no caches are configured").with_remedy(
            "name its file by --config FILE or in CACHETTE_CONFIG, or put the URL of a cache into CACHE_URL",
        ),
    }
}

/// What failed, while something else was done.
#[derive(Debug, Default)]
pub(crate) struct Failures(Vec<Failure>);

impl Failures {
    /// The success, or nothing where it failed.
    pub(crate) fn note<T>(&mut self, result: Result<T, impl Into<Failure>>) -> Option<T> {
        result.map_err(|failure| self.0.push(failure.into())).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells them, and what they come to.
    pub(crate) fn told(self) -> Outcome {
        self.0.iter().for_each(terminal::tell_failure);
        if self.0.is_empty() { Outcome::Done } else { Outcome::Failed }
    }
}
