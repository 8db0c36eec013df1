//! Where configuration comes from, and how it becomes caches.

use std::{
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
};

use crate::{
    Caches,
    backends::Backends,
    caches::listed,
    config::{
        CacheConfig,
        source::{self, Format, Origin, Sections},
    },
    wrappers::{Wrappers, Wrapping},
};

/// Puts [`Caches`] together out of files, URLs, the environment, and code.
///
/// An alias that comes from more than one source is configured by the last of them, so that the environment can stand in
/// for what a file says:
///
/// ```
/// # async fn run() -> cachette::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("caches.toml");
/// # std::fs::write(&path, "[default]\nbackend = 'locmem'").unwrap();
/// use cachette::{Caches, KeyFunction};
///
/// let caches = Caches::builder()
///     .file(&path)
///     .env()
///     .key_function("by-tenant", KeyFunction::custom(|key, prefix, version| format!("t7/{prefix}/{version}/{key}")))
///     .build()
///     .await?;
/// # Ok(()) }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is read before it is built"]
pub struct CachesBuilder {
    sources: Vec<Source>,
    backends: Backends,
    key_functions: BTreeMap<String, KeyFunction>,
    wrappers: Wrappers,
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
    /// Where a cache could be configured that is missed.
    fn place(&self) -> Option<String> {
        match self {
            Self::File(path) => Some(path.display().to_string()),
            Self::Text(format, _) => Some(Origin::Text(*format).to_string()),
            Self::Env(_) => Some("CACHE_URL in the environment".into()),
            Self::Url(..) | Self::Config(..) | Self::Store(..) | Self::Database(..) => None,
        }
    }
}

/// What an alias is configured with, and where that was read.
struct Planned {
    origin: Origin,
    plan: Plan,
}

enum Plan {
    Configured(Box<CacheConfig>),
    Made(Arc<dyn Cache>, Box<Settings>),
    Mistaken(Error),
}

impl Planned {
    fn read(origin: Origin, config: Result<CacheConfig>) -> Self {
        let plan = config.map_or_else(Plan::Mistaken, |config| Plan::Configured(Box::new(config)));
        Self { origin, plan }
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
            clock: Clock::default(),
            needs_default: true,
        }
    }

    fn source(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// A file: `.toml` or `.json`. Relative paths in it start at its folder. It is read when building, at once and as a
    /// whole.
    pub fn file(self, path: impl AsRef<Path>) -> Self {
        self.source(Source::File(path.as_ref().into()))
    }

    /// TOML.
    #[cfg(feature = "toml")]
    pub fn toml(self, text: &str) -> Self {
        self.source(Source::Text(Format::Toml, text.into()))
    }

    /// JSON.
    pub fn json(self, text: &str) -> Self {
        self.source(Source::Text(Format::Json, text.into()))
    }

    /// A URL for one alias: `locmem://pages?timeout=60&max_entries=1000`.
    pub fn url(self, alias: &str, url: &str) -> Self {
        self.source(Source::Url(alias.into(), url.into()))
    }

    /// `CACHE_URL` and `CACHE_URL_<ALIAS>` of the process's environment. An alias of an earlier source is meant whatever its
    /// case, with `_` for any character but letters and digits: `CACHE_URL_USER_PAGES` is for `user-pages`. Otherwise
    /// the variable makes a new alias, in lower case.
    pub fn env(self) -> Self {
        self.vars(
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))),
        )
    }

    /// Variables as [`env`](Self::env) takes them from the process.
    pub fn vars<N: Into<String>, V: Into<OsString>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.source(Source::Env(variables.collect()))
    }

    /// A cache configured in code.
    ///
    /// ```
    /// # async fn run() -> cachette::Result<()> {
    /// use std::time::Duration;
    /// use cachette::{Caches, config::CacheConfig};
    ///
    /// let sessions = CacheConfig::new("locmem").timeout(Duration::from_secs(3600)).option("max_entries", 50_000);
    /// let caches = Caches::builder().cache("default", sessions).build().await?;
    /// # Ok(()) }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
    /// ```
    pub fn cache(self, alias: &str, config: CacheConfig) -> Self {
        self.source(Source::Config(alias.into(), Box::new(config)))
    }

    /// A cache on a store that is made already. Several aliases may have the same one.
    pub fn store(self, alias: &str, store: Arc<dyn Cache>, settings: Settings) -> Self {
        self.source(Source::Store(alias.into(), store, Box::new(settings)))
    }

    /// A BACKEND of your own, or one in place of a built-in: any `async fn(StoreConfig) -> Result<impl Cache>`.
    ///
    /// `examples/custom_backend.rs` shows one whole.
    pub fn backend(mut self, name: &str, backend: impl Backend) -> Self {
        self.backends.insert(name, Arc::new(backend));
        self
    }

    /// A database for caches of the BACKEND `db`, by the name that their OPTIONS call it; it stands in for one of this name
    /// in the section `[databases]` of an earlier source.
    pub fn database(self, name: &str, url: &str) -> Self {
        self.source(Source::Database(name.into(), url.into()))
    }

    /// A KEY_FUNCTION of your own, by the name that the configuration calls it. Built in are `default` and `hashed`.
    pub fn key_function(mut self, name: &str, function: KeyFunction) -> Self {
        self.key_functions.insert(name.into(), function);
        self
    }

    /// Wraps every store when the caches are built: `wrap` is called once for each store, and
    /// aliases that share a store share its wrapper. Called again, it adds a wrapper outside the
    /// earlier ones.
    ///
    /// Also wraps stores given by [`store`](Self::store). Does not wrap stores that a BACKEND opens
    /// inside its own ([`StoreConfig::open_nested`]).
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
    ///
    /// `examples/counting_wrapper.rs` is a whole program.
    pub fn wrap<W: Cache>(
        mut self,
        wrap: impl Fn(Arc<dyn Cache>) -> W + Send + Sync + 'static,
    ) -> Self {
        self.wrappers.add(wrap);
        self
    }

    /// Wraps the store of one alias, outside of the wrappers for every store. Other aliases that
    /// share the store do not see this wrapper.
    ///
    /// Building returns [`ErrorKind::Config`] if there is no such alias.
    pub fn wrap_cache<W: Cache>(
        mut self,
        alias: &str,
        wrap: impl Fn(Arc<dyn Cache>) -> W + Send + Sync + 'static,
    ) -> Self {
        self.wrappers.add_for(alias, wrap);
        self
    }

    /// What entries expire by, in the stores of this process.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Does without an alias `default`. As in Django, its absence is a mistake otherwise.
    pub fn without_default(mut self) -> Self {
        self.needs_default = false;
        self
    }

    /// Reads all sources and makes the stores. No server needs to be there yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that names the file, the alias and the setting, what was found and what would be right.
    pub async fn build(self) -> Result<Caches> {
        let (caches, mistakes) = self.build_partial().await?;
        mistakes.into_values().next().map_or(Ok(caches), Err)
    }

    /// The same, but an alias with a mistake, or whose store can't be made, does not hide the others: answers the caches that
    /// could be made, and what is wrong with each of the others. For a program that looks after caches; a service should not start so.
    ///
    /// # Errors
    /// As [`build`](Self::build), where a source as a whole can't be read, or there is no `default`.
    pub async fn build_partial(mut self) -> Result<(Caches, BTreeMap<String, Error>)> {
        let mut planned = BTreeMap::new();
        let mut databases = BTreeMap::new();
        let places: Vec<String> = self.sources.iter().filter_map(Source::place).collect();
        for source in std::mem::take(&mut self.sources) {
            let more = plan(source, &planned)?;
            planned.extend(more.caches);
            databases.extend(more.databases);
        }
        let databases = Arc::new(databases);
        if self.needs_default && !planned.contains_key("default") {
            return Err(no_default(&planned, &places.join(", ")));
        }
        self.wrappers.check(planned.keys().map(String::as_str))?;
        let mut wrapping = Wrapping::new(&self.wrappers);
        let (mut handles, mut mistakes) = (BTreeMap::new(), BTreeMap::new());
        for (alias, Planned { origin, plan }) in planned {
            let opened = match plan {
                Plan::Made(store, settings) => Ok((store, *settings)),
                Plan::Configured(config) => self.open(&alias, &origin, *config, &databases).await,
                Plan::Mistaken(error) => Err(error),
            };
            match opened {
                Ok((store, settings)) => {
                    let store = wrapping.apply(&alias, store);
                    let handle = CacheHandle::new(&alias, store, settings);
                    handles.insert(alias, handle);
                }
                Err(error) => drop(mistakes.insert(alias.clone(), origin.locate(&alias, error))),
            }
        }
        Ok((Caches::new(handles), mistakes))
    }

    async fn open(
        &self,
        alias: &str,
        origin: &Origin,
        config: CacheConfig,
        databases: &Arc<BTreeMap<String, String>>,
    ) -> Result<(Arc<dyn Cache>, Settings)> {
        let Some(name) = &config.backend else { return Err(self.backends.missing()) };
        let backend = self.backends.find(name)?;
        let settings = Settings {
            timeout: config.timeout,
            key_prefix: config.key_prefix,
            version: config.version,
            key_function: self.key_function_of(config.key_function.as_deref())?,
            key_check: config.key_check,
            codec: config.codec,
            undecodable: config.undecodable,
        };
        let mut for_store = StoreConfig::new(alias, config.options);
        for_store.location = config.location;
        for_store.url = config.url;
        for_store.file = origin.file().map(Into::into);
        for_store.databases = Arc::clone(databases);
        for_store.clock = self.clock.clone();
        for_store.common_key_prefix = settings.key_function.common_prefix(&settings.key_prefix);
        for_store.nested = Some(Arc::new(self.backends.clone()));
        let store = backend.open(&for_store).await?;
        Ok((store, settings))
    }

    fn key_function_of(&self, name: Option<&str>) -> Result<KeyFunction> {
        let Some(name) = name else { return Ok(KeyFunction::Default) };
        self.key_functions.get(name).cloned().ok_or_else(|| {
            let there = listed(self.key_functions.keys().map(String::as_str));
            let expected = format!(
                "one that there is: there {there}, and CachesBuilder::key_function adds others"
            );
            config::invalid_setting("KEY_FUNCTION", &format!("{name:?}"), &expected)
        })
    }
}

/// What a source says of caches, by alias, and of databases, by name.
#[derive(Default)]
struct Said {
    caches: BTreeMap<String, Planned>,
    databases: BTreeMap<String, String>,
}

impl Said {
    fn of(alias: String, planned: Planned) -> Self {
        Self { caches: BTreeMap::from([(alias, planned)]), ..Self::default() }
    }
}

fn plan(source: Source, known: &BTreeMap<String, Planned>) -> Result<Said> {
    match source {
        Source::File(path) => {
            let format = Format::of(&path)?;
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            read(format, &text, &Origin::File(path))
        }
        Source::Text(format, text) => read(format, &text, &Origin::Text(format)),
        Source::Url(alias, url) => {
            Ok(Said::of(alias, Planned::read(Origin::Url, source::read_url(url))))
        }
        Source::Env(variables) => {
            let variables = source::variables(variables, &|| known.keys())?;
            let read =
                |(alias, (origin, url))| (alias, Planned::read(origin, source::read_url(url)));
            Ok(Said { caches: variables.into_iter().map(read).collect(), ..Said::default() })
        }
        Source::Config(alias, config) => {
            Ok(Said::of(alias, Planned::read(Origin::Code, Ok(*config))))
        }
        Source::Store(alias, store, settings) => {
            Ok(Said::of(alias, Planned { origin: Origin::Code, plan: Plan::Made(store, settings) }))
        }
        Source::Database(name, url) => {
            Ok(Said { databases: BTreeMap::from([(name, url)]), ..Said::default() })
        }
    }
}

fn read(format: Format, text: &str, origin: &Origin) -> Result<Said> {
    let Sections { caches, databases } = source::read(format, text, origin)?;
    let read = |(alias, config)| (alias, Planned::read(origin.clone(), config));
    Ok(Said { caches: caches.into_iter().map(read).collect(), databases })
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let message = format!("{}: cannot be read: {error}", path.display());
    Error::new(ErrorKind::Config, message).with_source(error)
}

fn no_default(planned: &BTreeMap<String, Planned>, places: &str) -> Error {
    let there = listed(planned.keys().map(String::as_str));
    let place = if places.is_empty() { String::new() } else { format!("{places}: ") };
    let message = format!(
        "{place}there is no cache \"default\", which there has to be; there {there}. Add one, or ask for none by \
         CachesBuilder::without_default"
    );
    Error::new(ErrorKind::Config, message)
}

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
