//! The caches that a command works on.

use std::{collections::BTreeMap, path::Path};

use cachette::{CacheHandle, Caches, CachesBuilder, Error, OnOutage, Undecodable, Version};

use crate::{
    Failure, Outcome, Result,
    args::{Cli, Command},
    terminal,
};

/// The configured caches, the errors of those that could not be opened, and the options that select
/// among them.
pub(crate) struct Selection {
    caches: Caches,
    /// At least one for each alias, and all mistakes for a command that reports them.
    errors: BTreeMap<String, Vec<Error>>,
    alias: Option<String>,
    version: Option<Version>,
}

/// An alias with its cache, or the reason why it could not be opened.
pub(crate) type SelectedCache = (String, Result<CacheHandle>);

impl Selection {
    pub(crate) async fn open(cli: &Cli) -> Result<Self> {
        let builder = builder(cli.config.as_deref());
        let (caches, errors) = match cli.command {
            Command::Doctor => builder.build_with_mistakes().await?,
            _ => {
                let (caches, errors) = builder.build_partial().await?;
                (caches, errors.into_iter().map(|(alias, error)| (alias, vec![error])).collect())
            }
        };
        if caches.aliases().next().is_none() && errors.is_empty() {
            return Err(no_caches(cli));
        }
        if let Some(alias) = cli.alias()
            && !errors.contains_key(alias)
        {
            caches.get(alias).map_err(|error| unknown_cache(error, &errors))?;
        }
        Ok(Self {
            caches,
            errors,
            alias: cli.alias().map(Into::into),
            version: cli.key_version.clone(),
        })
    }

    /// The alias that `--cache` names.
    pub(crate) fn alias(&self) -> Option<&str> {
        self.alias.as_deref()
    }

    /// All caches that could be opened.
    pub(crate) fn caches(&self) -> &Caches {
        &self.caches
    }

    /// The selected cache, `default` without `--cache`.
    ///
    /// The cache returns an error for an undecodable entry and for an outage, not a miss.
    pub(crate) fn into_cache(mut self) -> Result<CacheHandle> {
        let alias = self.alias.as_deref().unwrap_or("default");
        if let Some(error) = self.errors.remove(alias).and_then(first) {
            return Err(error.into());
        }
        let cache = self.caches.get(alias)?.with_undecodable(Undecodable::Error);
        let cache = cache.with_on_outage(OnOutage::Error);
        Ok(match self.version {
            Some(version) => cache.version(version),
            None => cache,
        })
    }

    /// The selected caches, all of them without `--cache`, in the order of their aliases.
    ///
    /// They return an error for an outage, not a miss.
    pub(crate) fn into_each(self) -> impl Iterator<Item = SelectedCache> {
        let first = |mut failures: Vec<Failure>| failures.swap_remove(0);
        self.into_each_with_mistakes().map(move |(alias, cache)| (alias, cache.map_err(first)))
    }

    /// Like [`into_each`](Self::into_each), with all mistakes in the configuration of an alias, at
    /// least one.
    pub(crate) fn into_each_with_mistakes(
        self,
    ) -> impl Iterator<Item = (String, Result<CacheHandle, Vec<Failure>>)> {
        let opened = self
            .caches
            .iter()
            .map(|cache| (cache.alias().to_owned(), Ok(cache.with_on_outage(OnOutage::Error))));
        let mut all: BTreeMap<String, Result<CacheHandle, Vec<Failure>>> = opened.collect();
        all.extend(
            self.errors.into_iter().map(|(alias, errors)| {
                (alias, Err(errors.into_iter().map(Failure::from).collect()))
            }),
        );
        all.into_iter()
            .filter(move |(alias, _)| self.alias.as_ref().is_none_or(|selected| selected == alias))
    }

    /// Returns whether the configuration has this alias.
    pub(crate) fn has(&self, alias: &str) -> bool {
        self.errors.contains_key(alias) || self.caches.get(alias).is_ok()
    }

    /// All caches that could be opened, and the errors of the others.
    pub(crate) fn into_all(self) -> (Caches, Failures) {
        (
            self.caches,
            Failures(self.errors.into_values().filter_map(first).map(Failure::from).collect()),
        )
    }
}

fn first(errors: Vec<Error>) -> Option<Error> {
    errors.into_iter().next()
}

/// The configuration of a file, or of the environment.
pub(crate) fn builder(config: Option<&Path>) -> CachesBuilder {
    let builder = Caches::builder().without_default();
    match config {
        Some(file) => builder.file(file),
        None => builder.env(),
    }
}

/// The error names the caches that could be opened. The others are configured as well.
fn unknown_cache(error: Error, errors: &BTreeMap<String, Vec<Error>>) -> Failure {
    let failure = Failure::from(error);
    if errors.is_empty() {
        return failure;
    }
    let aliases: Vec<String> = errors.keys().map(|alias| format!("{alias:?}")).collect();
    let aliases = aliases.join(", ");
    failure.with_help(format!("the configuration of others has mistakes: {aliases}"))
}

/// An empty configuration is an error, because it is probably a mistake.
fn no_caches(cli: &Cli) -> Failure {
    match &cli.config {
        Some(file) => Failure::new(format!("{}: no caches are configured", file.display()))
            .with_help("add a table for each cache, named after its alias, such as [default]"),
        None => Failure::new("no caches are configured").with_help(
            "name the configuration file by --config FILE or CACHETTE_CONFIG, or set CACHE_URL to \
             the URL of a cache",
        ),
    }
}

/// The failures of a command that continues after a failure.
#[derive(Debug, Default)]
pub(crate) struct Failures(Vec<Failure>);

impl Failures {
    /// Returns the value of `result`, or records its error and returns `None`.
    pub(crate) fn ok<T>(&mut self, result: Result<T, impl Into<Failure>>) -> Option<T> {
        result.map_err(|failure| self.0.push(failure.into())).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Prints the failures, and returns the outcome of the command.
    pub(crate) fn report(self) -> Outcome {
        self.0.iter().for_each(terminal::print_failure);
        if self.0.is_empty() { Outcome::Done } else { Outcome::Failed }
    }
}
