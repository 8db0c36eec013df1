//! The builder of [`Caches`].

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use cache_core::{
    Cache, CacheHandle, Clock, Error, ErrorKind, KeyFunction, Result, Settings,
    config::{self, Backend, StoreConfig},
    observe::Observed,
};
use serde_json::Value as Json;

use crate::{
    Caches,
    backends::Backends,
    caches::quoted,
    config::{
        ALIAS_SETTINGS, CacheConfig, Observe,
        source::{self, Format, Origin, Sections},
    },
    mistakes::{Invalid, Search},
    wrappers::{Wrappers, Wrapping},
};

/// Builds [`Caches`] from files, URLs, the environment and code.
///
/// If several sources configure an alias, the last one replaces the others. The environment can
/// therefore override a file.
///
/// # Examples
///
/// ```
/// # async fn run() -> cachette::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("caches.toml");
/// # std::fs::write(&path, "[default]\nbackend = 'locmem'").unwrap();
/// use cachette::{Caches, KeyFunction};
///
/// let by_tenant =
///     KeyFunction::custom(|key, prefix, version| format!("t7/{prefix}/{version}/{key}"));
/// let caches = Caches::builder()
///     .file(&path)
///     .env()
///     .key_function("by-tenant", by_tenant)
///     .build()
///     .await?;
/// # Ok(()) }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct CachesBuilder {
    sources: Vec<Source>,
    backends: Backends,
    key_functions: BTreeMap<String, KeyFunction>,
    wrappers: Wrappers,
    observe: Observe,
    clock: Clock,
    needs_default: bool,
}

enum Source {
    File(PathBuf),
    Text(Format, String),
    Url(String, String),
    Env(Vec<(String, OsString)>),
    Config(String, Box<CacheConfig>),
    Store(String, Arc<dyn Cache>, Box<Settings>),
    Database(String, String),
}

impl Source {
    /// The source to which a missing cache can be added, for messages.
    fn place(&self) -> Option<String> {
        match self {
            Self::File(path) => Some(path.display().to_string()),
            Self::Text(format, _) => Some(Origin::Text(*format).to_string()),
            Self::Env(_) => Some("environment variable CACHE_URL".into()),
            Self::Url(..) | Self::Config(..) | Self::Store(..) | Self::Database(..) => None,
        }
    }
}

/// The configuration of an alias, and its origin.
struct AliasPlan {
    origin: Origin,
    plan: Plan,
}

/// How to get the store of an alias.
enum Plan {
    Open(Box<CacheConfig>),
    Use(Arc<dyn Cache>, Box<Settings>),
    /// The configuration is invalid. It is kept as it was written.
    Fail(Error, Json),
}

impl AliasPlan {
    /// Reads a table of settings or a URL.
    fn read(origin: Origin, entry: Json) -> Self {
        let plan = match source::read_alias(&entry) {
            Ok(config) => Plan::Open(Box::new(config)),
            Err(error) => Plan::Fail(error, entry),
        };
        Self { origin, plan }
    }

    /// The number of OPTIONS that the configuration states.
    fn stated_options(&self) -> usize {
        match &self.plan {
            Plan::Open(config) => config.options.values().filter(|value| !value.is_null()).count(),
            Plan::Use(..) | Plan::Fail(..) => 0,
        }
    }
}

impl CachesBuilder {
    pub(crate) fn new() -> Self {
        Self {
            sources: Vec::new(),
            backends: Backends::built_in(),
            key_functions: BTreeMap::from([
                ("default".into(), KeyFunction::Default),
                ("django.core.cache.backends.base.default_key_func".into(), KeyFunction::Default),
                ("hashed".into(), KeyFunction::Hashed),
            ]),
            wrappers: Wrappers::default(),
            observe: Observe::Off,
            clock: Clock::default(),
            needs_default: true,
        }
    }

    fn source(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// Adds a `.toml` or `.json` file.
    ///
    /// Relative paths in the file are resolved against its directory. [`build`](Self::build) reads
    /// the file with blocking I/O.
    pub fn file(self, path: impl AsRef<Path>) -> Self {
        self.source(Source::File(path.as_ref().into()))
    }

    /// Adds TOML text.
    #[cfg(feature = "toml")]
    pub fn toml(self, text: &str) -> Self {
        self.source(Source::Text(Format::Toml, text.into()))
    }

    /// Adds JSON text.
    pub fn json(self, text: &str) -> Self {
        self.source(Source::Text(Format::Json, text.into()))
    }

    /// Adds a URL for one alias, such as `locmem://pages?timeout=60&max_entries=1000`.
    pub fn url(self, alias: &str, url: &str) -> Self {
        self.source(Source::Url(alias.into(), url.into()))
    }

    /// Adds `CACHE_URL` and `CACHE_URL_<ALIAS>` from the environment of the process.
    ///
    /// A variable overrides an alias of an earlier source if their names are equal when case is
    /// ignored and `_` stands for every character except letters and digits: `CACHE_URL_USER_PAGES`
    /// overrides `user-pages`. Otherwise the variable adds an alias in lower case.
    pub fn env(self) -> Self {
        self.vars(
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))),
        )
    }

    /// Adds variables, with the same meaning as those that [`env`](Self::env) reads.
    pub fn vars<N: Into<String>, V: Into<OsString>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.source(Source::Env(variables.collect()))
    }

    /// Adds a cache that is configured in code.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn run() -> cachette::Result<()> {
    /// use std::time::Duration;
    /// use cachette::{Caches, config::CacheConfig};
    ///
    /// let sessions = CacheConfig::new("locmem")
    ///     .timeout(Duration::from_secs(3600))
    ///     .option("max_entries", 50_000);
    /// let caches = Caches::builder().cache("default", sessions).build().await?;
    /// # Ok(()) }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
    /// ```
    pub fn cache(self, alias: &str, config: CacheConfig) -> Self {
        self.source(Source::Config(alias.into(), Box::new(config)))
    }

    /// Adds a cache on an open store. Several aliases may share the store.
    pub fn store(self, alias: &str, store: Arc<dyn Cache>, settings: Settings) -> Self {
        self.source(Source::Store(alias.into(), store, Box::new(settings)))
    }

    /// Registers a BACKEND: any `async fn(StoreConfig) -> Result<impl Cache>`.
    ///
    /// Replaces a built-in BACKEND with the same name. For a complete store, see
    /// `examples/custom_backend.rs`.
    pub fn backend(mut self, name: &str, backend: impl Backend) -> Self {
        self.backends.insert(name, Arc::new(backend));
        self
    }

    /// Adds a database for caches with the BACKEND `db`, which name it in their OPTIONS.
    ///
    /// Overrides a database with the same name in the section `[databases]` of an earlier source.
    pub fn database(self, name: &str, url: &str) -> Self {
        self.source(Source::Database(name.into(), url.into()))
    }

    /// Registers a KEY_FUNCTION. `default` and `hashed` are built in.
    pub fn key_function(mut self, name: &str, function: KeyFunction) -> Self {
        self.key_functions.insert(name.into(), function);
        self
    }

    /// Wraps every store when the caches are built.
    ///
    /// `wrap` is called once for each store, and aliases that share a store share its wrapper. A
    /// second call of this method adds a wrapper outside the first one.
    ///
    /// Also wraps stores that [`store`](Self::store) adds. Does not wrap stores that a BACKEND
    /// opens inside its own store ([`StoreConfig::open_nested`]).
    ///
    /// For a complete program, see `examples/counting_wrapper.rs`.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn run() -> cachette::Result<()> {
    /// use std::sync::Arc;
    /// use cachette::{Cache, Caches, forward_cache};
    ///
    /// #[derive(Debug)]
    /// struct Named(Arc<dyn Cache>);
    ///
    /// impl Cache for Named {
    ///     forward_cache!(self.0, except name);
    ///
    ///     fn name(&self) -> &str {
    ///         "named"
    ///     }
    /// }
    ///
    /// let caches = Caches::builder().url("default", "locmem://").wrap(Named).build().await?;
    /// assert_eq!(caches["default"].store().name(), "named");
    /// # Ok(()) }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
    /// ```
    pub fn wrap<W: Cache>(
        mut self,
        wrap: impl Fn(Arc<dyn Cache>) -> W + Send + Sync + 'static,
    ) -> Self {
        self.wrappers.add(wrap);
        self
    }

    /// Wraps the store of one alias, outside the wrappers for every store.
    ///
    /// Other aliases that share the store do not see this wrapper. Building fails with
    /// [`ErrorKind::Config`] if the alias is not configured.
    pub fn wrap_cache<W: Cache>(
        mut self,
        alias: &str,
        wrap: impl Fn(Arc<dyn Cache>) -> W + Send + Sync + 'static,
    ) -> Self {
        self.wrappers.add_for(alias, wrap);
        self
    }

    /// Sets whether the operations of all caches are [reported](crate::observe). `false` by
    /// default.
    ///
    /// An alias with the setting OBSERVE follows that instead. The stores are wrapped in
    /// [`Observed`], outside all other wrappers.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn run() -> cachette::Result<()> {
    /// use cachette::{Caches, observe::{Observed, Trace}};
    ///
    /// let caches = Caches::builder().url("default", "locmem://").observe(true).build().await?;
    /// let cache = caches.get("default")?;
    /// assert!(cache.store().downcast_ref::<Observed>().is_some());
    ///
    /// let trace = Trace::new();
    /// trace.collect(cache.get::<String>("greeting")).await?;
    /// assert_eq!(trace.calls()[0].outcome.name(), "miss");
    /// # Ok(()) }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
    /// ```
    pub fn observe(mut self, observe: bool) -> Self {
        self.observe = observe.into();
        self
    }

    /// Sets the clock that expires entries in the stores of this process, and by which pages age
    /// in any store.
    ///
    /// A test can so set the time of everything at once, with a
    /// [`ManualClock`](cache_core::ManualClock). Servers such as Redis expire their entries by
    /// their own clock, and a store that [`store`](Self::store) adds by the one that it was opened
    /// with.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Allows a configuration without the alias `default`, which is an error otherwise, as in
    /// Django.
    pub fn without_default(mut self) -> Self {
        self.needs_default = false;
        self
    }

    /// Reads all sources and opens the stores.
    ///
    /// Servers need not be reachable yet.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the configuration is invalid. The message names the file,
    /// the alias, the setting, the value found and the values allowed.
    pub async fn build(self) -> Result<Caches> {
        let (caches, errors) = self.build_partial().await?;
        errors.into_values().next().map_or(Ok(caches), Err)
    }

    /// Like [`build`](Self::build), but opens the valid caches even if others are invalid.
    ///
    /// Returns the caches that could be opened, and the error of each other alias. Meant for
    /// programs that manage caches. A service should use [`build`](Self::build).
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if a source cannot be read at all, or if `default` is missing.
    pub async fn build_partial(self) -> Result<(Caches, BTreeMap<String, Error>)> {
        let (caches, errors) = self.open_all(false).await?;
        let first =
            |(alias, errors): (String, Vec<Error>)| Some((alias, errors.into_iter().next()?));
        Ok((caches, errors.into_iter().filter_map(first).collect()))
    }

    /// Like [`build_partial`](Self::build_partial), but returns every mistake in the configuration
    /// of each other alias, not only the first.
    ///
    /// A mistake is found by leaving out the settings that are known to be wrong. So what depends
    /// on such a setting is not checked: all of OPTIONS if BACKEND is wrong.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`build_partial`](Self::build_partial).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn run() -> cachette::Result<()> {
    /// use cachette::Caches;
    ///
    /// let url = "locmem://?timeout=soon&max_entries=many&key_function=secret";
    /// let (_, mistakes) = Caches::builder().url("default", url).build_with_mistakes().await?;
    /// assert_eq!(mistakes["default"].len(), 3);
    /// # Ok(()) }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
    /// ```
    pub async fn build_with_mistakes(self) -> Result<(Caches, BTreeMap<String, Vec<Error>>)> {
        self.open_all(true).await
    }

    /// Opens the valid caches. Returns the first error of each other alias, or all of them.
    async fn open_all(
        mut self,
        all_errors: bool,
    ) -> Result<(Caches, BTreeMap<String, Vec<Error>>)> {
        let mut plans = BTreeMap::new();
        let mut databases = BTreeMap::new();
        let places: Vec<String> = self.sources.iter().filter_map(Source::place).collect();
        for source in std::mem::take(&mut self.sources) {
            let read = read_source(source, &plans)?;
            plans.extend(read.caches);
            databases.extend(read.databases);
        }
        let databases = Arc::new(databases);
        if self.needs_default && !plans.contains_key("default") {
            return Err(missing_default(&plans, &places.join(", ")));
        }
        self.wrappers.check(plans.keys().map(String::as_str))?;
        let mut wrapping = Wrapping::new(&self.wrappers);
        let (mut handles, mut errors) = (BTreeMap::new(), BTreeMap::new());
        let mut plans: Vec<(String, AliasPlan)> = plans.into_iter().collect();
        // An alias shares the options that it does not state with others at the same LOCATION.
        plans.sort_by_key(|(_, plan)| Reverse(plan.stated_options()));
        let mut invalid = Vec::new();
        for (alias, AliasPlan { origin, plan }) in plans {
            let opened = match plan {
                Plan::Open(config) => {
                    let kept = all_errors.then(|| config.clone());
                    let opened = self.open(&alias, &origin, *config, &databases).await;
                    opened.map_err(|error| (error, kept.map(Invalid::Config)))
                }
                Plan::Use(store, settings) => Ok((store, *settings, self.observe.clone())),
                Plan::Fail(error, entry) => Err((error, Some(Invalid::Entry(entry)))),
            };
            match opened {
                Ok((store, settings, observe)) => {
                    let mut store = wrapping.apply(&alias, store);
                    if let Observe::On(options) = observe {
                        let observed = Observed::new(&alias, store, options);
                        store = Arc::new(observed.with_clock(self.clock.clone()));
                    }
                    let handle = CacheHandle::new(&alias, store, settings);
                    handles.insert(alias, handle.with_clock(self.clock.clone()));
                }
                Err((error, config)) => invalid.push((alias, origin, error, config)),
            }
        }
        // Only now, so that what is opened on the way shares no store with a valid alias.
        for (alias, origin, error, config) in invalid {
            let found = match config.filter(|_| all_errors) {
                Some(config) => {
                    let mut search = Search::new(config, error);
                    while let Some(config) = search.next() {
                        match self.open(&alias, &origin, config, &databases).await {
                            Ok(_) => break,
                            Err(error) => search.record(error),
                        }
                    }
                    search.into_mistakes()
                }
                None => vec![error],
            };
            let found = found.into_iter().map(|error| origin.locate(&alias, error)).collect();
            errors.insert(alias, found);
        }
        Ok((Caches::new(handles), errors))
    }

    async fn open(
        &self,
        alias: &str,
        origin: &Origin,
        config: CacheConfig,
        databases: &Arc<BTreeMap<String, String>>,
    ) -> Result<(Arc<dyn Cache>, Settings, Observe)> {
        let Some(name) = &config.backend else { return Err(self.backends.missing()) };
        let (backend, class) = self.backends.find(name)?;
        let config = match class {
            Some(class) => config.translate(class)?,
            None => config,
        };
        for warning in &config.warnings {
            tracing::warn!(cache = alias, "{warning}");
        }
        let settings = Settings {
            timeout: config.timeout,
            key_prefix: config.key_prefix,
            version: config.version,
            key_function: self.find_key_function(config.key_function.as_deref())?,
            key_check: config.key_check,
            codec: config.codec,
            also_decode: config.also_decode,
            undecodable: config.undecodable,
            on_outage: config.on_outage.unwrap_or_default(),
            patience: config.patience.unwrap_or(Settings::default().patience),
            share: config.share,
            fill: config.fill,
            tags: config.tags,
            clear: config.clear,
        };
        let mut store_config = StoreConfig::new(alias, config.options);
        store_config.location = config.location;
        if config.url.is_some() {
            store_config.url_settings = &ALIAS_SETTINGS;
        }
        store_config.url = config.url;
        store_config.file = origin.file().map(Into::into);
        store_config.databases = Arc::clone(databases);
        store_config.clock = self.clock.clone();
        store_config.common_key_prefix = settings.key_function.common_prefix(&settings.key_prefix);
        store_config.nested = Some(Arc::new(self.backends.clone()));
        let observe = config.observe.unwrap_or_else(|| self.observe.clone());
        let store = backend.open(&store_config).await?;
        Ok((store, settings, observe))
    }

    fn find_key_function(&self, name: Option<&str>) -> Result<KeyFunction> {
        let Some(name) = name else { return Ok(KeyFunction::Default) };
        self.key_functions.get(name).cloned().ok_or_else(|| {
            let known = quoted(self.key_functions.keys().map(String::as_str));
            let expected =
                format!("one of {known}, or a name that CachesBuilder::key_function adds");
            let hint = config::did_you_mean(name, self.key_functions.keys().map(String::as_str));
            config::invalid_setting("KEY_FUNCTION", &format!("{name:?}{hint}"), &expected)
        })
    }
}

/// The contents of one source: caches by alias, and databases by name.
#[derive(Default)]
struct SourceContents {
    caches: BTreeMap<String, AliasPlan>,
    databases: BTreeMap<String, String>,
}

impl SourceContents {
    fn cache(alias: String, plan: AliasPlan) -> Self {
        Self { caches: BTreeMap::from([(alias, plan)]), ..Self::default() }
    }
}

/// Reads a source. `earlier` has the aliases of the sources before it.
fn read_source(source: Source, earlier: &BTreeMap<String, AliasPlan>) -> Result<SourceContents> {
    match source {
        Source::File(path) => {
            let format = Format::of(&path)?;
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            read_text(format, &text, &Origin::File(path))
        }
        Source::Text(format, text) => read_text(format, &text, &Origin::Text(format)),
        Source::Url(alias, url) => {
            let plan = AliasPlan::read(Origin::Url, url.into());
            Ok(SourceContents::cache(alias, plan))
        }
        Source::Env(variables) => {
            let urls = source::variables(variables, &|| earlier.keys())?;
            let plans = urls
                .into_iter()
                .map(|(alias, (origin, url))| (alias, AliasPlan::read(origin, url.into())));
            Ok(SourceContents { caches: plans.collect(), ..SourceContents::default() })
        }
        Source::Config(alias, config) => {
            let plan = AliasPlan { origin: Origin::Code, plan: Plan::Open(config) };
            Ok(SourceContents::cache(alias, plan))
        }
        Source::Store(alias, store, settings) => {
            let plan = AliasPlan { origin: Origin::Code, plan: Plan::Use(store, settings) };
            Ok(SourceContents::cache(alias, plan))
        }
        Source::Database(name, url) => {
            let databases = BTreeMap::from([(name, url)]);
            Ok(SourceContents { databases, ..SourceContents::default() })
        }
    }
}

fn read_text(format: Format, text: &str, origin: &Origin) -> Result<SourceContents> {
    let Sections { caches, databases } = source::read(format, text, origin)?;
    let plan = |(alias, entry)| (alias, AliasPlan::read(origin.clone(), entry));
    Ok(SourceContents { caches: caches.into_iter().map(plan).collect(), databases })
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Config, format!("cannot read {}", path.display())).with_source(error)
}

fn missing_default(plans: &BTreeMap<String, AliasPlan>, places: &str) -> Error {
    let configured = quoted(plans.keys().map(String::as_str));
    let place = if places.is_empty() { String::new() } else { format!("{places}: ") };
    let message = format!(
        "{place}missing cache \"default\"; configured caches: {configured}; add it, or call \
         CachesBuilder::without_default"
    );
    Error::new(ErrorKind::Config, message)
}

/// Shows no URLs and no text, which may contain passwords.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Text(format, _) => write!(f, "Text({format:?})"),
            Self::Url(alias, _) => write!(f, "Url({alias})"),
            Self::Env(_) => f.write_str("Env"),
            Self::Config(alias, _) => write!(f, "Config({alias})"),
            Self::Database(name, _) => write!(f, "Database({name})"),
            Self::Store(alias, store, _) => write!(f, "Store({alias}, {})", store.name()),
        }
    }
}
