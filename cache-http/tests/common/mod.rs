//! A site for tests: a cache in a store, a manual clock, and views that count their calls.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::body::Body;
use cache_core::{Cache, CacheHandle, ManualClock, Settings};
use cache_db::{DbCache, DbOptions};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use cache_http::{HttpCache, HttpCacheLayer};
use cache_locmem::{LocMemCache, LocMemOptions};
use cache_memcached::{MemcachedCache, MemcachedOptions};
use cache_redis::{RedisCache, RedisOptions};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
use xtask::servers::{Kind, Server, outlive};

/// Defines a test for every store from each `async fn(Site)` in the list.
#[macro_export]
macro_rules! on_each_store {
    ($($name:ident,)*) => {
        $crate::on_each_store!(locmem in_memory: $($name,)*);
        $crate::on_each_store!(files on_files: $($name,)*);
        $crate::on_each_store!(sqlite on_sqlite: $($name,)*);
        $crate::on_each_store!(memcached on_memcached: $($name,)*);
        $crate::on_each_store!(redis on_redis: $($name,)*);
    };
    ($store:ident $site:ident: $($name:ident,)*) => {
        mod $store {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name($crate::common::Site::$site()).await;
                }
            )*
        }
    };
}

pub(crate) struct Site {
    pub(crate) time: ManualClock,
    pub(crate) cache: CacheHandle,
    _folder: Option<TempDir>,
}

impl Site {
    pub(crate) fn in_memory() -> Self {
        Self::in_memory_with(LocMemOptions::default())
    }

    pub(crate) fn in_memory_with(options: LocMemOptions) -> Self {
        let time = ManualClock::new();
        let store = LocMemCache::with_clock(options, time.clock()).expect("valid options");
        Self::on(store, time, None)
    }

    pub(crate) fn on_files() -> Self {
        let (time, folder) = (ManualClock::new(), folder());
        let store =
            FileBasedCache::with_clock(folder.path(), FileBasedOptions::default(), time.clock())
                .expect("valid options");
        Self::on(store, time, Some(folder))
    }

    pub(crate) fn on_sqlite() -> Self {
        let (time, folder) = (ManualClock::new(), folder());
        let mut options = DbOptions::new("sqlite:pages.db");
        options.create_table = true;
        options.pool_size = 4;
        options.connect_timeout = TIMEOUT;
        options.statement_timeout = TIMEOUT;
        let store = DbCache::open("pages", options, Some(folder.path()), time.clock())
            .expect("valid options");
        Self::on(store, time, Some(folder))
    }

    /// Creates a site on a server that has its own clock: pages age by the clock of the site and
    /// expire by that of the server.
    pub(crate) fn on_memcached() -> Self {
        static PORT: OnceLock<u16> = OnceLock::new();
        let port = PORT.get_or_init(|| outlive(|| Server::start(Kind::Memcached), Server::port));
        let mut options = MemcachedOptions::default();
        options.timeout = TIMEOUT;
        options.connect_timeout = TIMEOUT;
        let store =
            MemcachedCache::new(&[format!("127.0.0.1:{port}")], &options).expect("valid options");
        Self::on(store, ManualClock::new(), None)
    }

    /// Creates a site on a server that has its own clock.
    pub(crate) fn on_redis() -> Self {
        static URL: OnceLock<String> = OnceLock::new();
        let url = URL.get_or_init(|| outlive(|| Server::start(Kind::Redis), Server::url));
        let mut options = RedisOptions::default();
        options.socket_timeout = TIMEOUT;
        options.socket_connect_timeout = TIMEOUT;
        let store = RedisCache::new(&[url], options).expect("valid options");
        Self::on(store, ManualClock::new(), None)
    }

    /// Tests share servers, but not keys.
    fn on(store: impl Cache, time: ManualClock, folder: Option<TempDir>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let key_prefix = format!("test{}", NUMBER.fetch_add(1, SeqCst));
        let cache = CacheHandle::new(
            "default",
            Arc::new(store),
            Settings { key_prefix, ..Settings::default() },
        );
        Self { cache, time, _folder: folder }
    }

    /// Creates another site on the same store, with a clock of its own.
    pub(crate) fn with(cache: CacheHandle) -> Self {
        Self { cache, time: ManualClock::new(), _folder: None }
    }

    /// Creates a layer with the preset for sites.
    pub(crate) fn layer(&self) -> HttpCacheLayer {
        HttpCacheLayer::new(&self.cache).clock(self.time.clock()).cache_status("c")
    }

    /// Creates a layer with the preset for shared caches.
    pub(crate) fn shared(&self) -> HttpCacheLayer {
        HttpCacheLayer::shared(&self.cache).clock(self.time.clock()).cache_status("c")
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.time.advance(Duration::from_secs(seconds));
    }
}

/// A timeout that a busy machine does not exceed.
const TIMEOUT: Duration = Duration::from_secs(20);

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("temporary directory")
}

pub(crate) type Inner = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A view that counts its calls.
#[derive(Clone)]
pub(crate) struct View {
    calls: Arc<AtomicUsize>,
    service: Inner,
}

impl View {
    /// Creates a view from a function of the request and of the number of earlier calls.
    pub(crate) fn new(
        respond: impl Fn(Request<Body>, usize) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let respond = Arc::new(respond);
        Self::waiting(move |request, calls| {
            let respond = Arc::clone(&respond);
            async move { respond(request, calls) }
        })
    }

    /// Creates a view from an asynchronous function.
    pub(crate) fn waiting<F>(
        respond: impl Fn(Request<Body>, usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let calls = Arc::new(AtomicUsize::new(0));
        let (counter, respond) = (Arc::clone(&calls), Arc::new(respond));
        // A call counts when it is made, not when its future is polled.
        let service = tower::service_fn(move |request| {
            let response = respond(request, counter.fetch_add(1, SeqCst));
            async move { Ok(response.await) }
        });
        Self { calls, service: BoxCloneSyncService::new(service) }
    }

    /// Creates a view that responds once there is a permit of the semaphore, which it uses up.
    pub(crate) fn gated(
        respond: impl Fn(Request<Body>, usize) -> Response<Body> + Send + Sync + 'static,
    ) -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let (opened, respond) = (Arc::clone(&gate), Arc::new(respond));
        let view = Self::waiting(move |request, calls| {
            let (gate, respond) = (Arc::clone(&opened), Arc::clone(&respond));
            async move {
                gate.acquire().await.expect("semaphore is open").forget();
                respond(request, calls)
            }
        });
        (view, gate)
    }

    /// Creates a view whose responses have these headers, and the number of earlier calls in their
    /// body.
    pub(crate) fn with(headers: &'static [(&'static str, &'static str)]) -> Self {
        Self::new(move |_, calls| page(headers, &format!("page {calls}")))
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    pub(crate) fn cached(&self, layer: &HttpCacheLayer) -> Cached {
        Cached(layer.layer(self.service.clone()))
    }

    pub(crate) fn service(&self) -> Inner {
        self.service.clone()
    }
}

pub(crate) fn page(headers: &[(&str, &str)], body: &str) -> Response<Body> {
    let mut response = Response::builder();
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body.to_owned())).expect("valid headers")
}

#[derive(Clone)]
pub(crate) struct Cached(pub HttpCache<Inner>);

impl Cached {
    pub(crate) async fn send(&self, request: Request<Body>) -> Got {
        Got::of(self.0.clone().oneshot(request).await.expect("infallible")).await
    }

    pub(crate) async fn ask(&self, method: Method, uri: &str, headers: &[(&str, &str)]) -> Got {
        self.send(request(method, uri, headers)).await
    }

    pub(crate) async fn get(&self, uri: &str) -> Got {
        self.ask(Method::GET, uri, &[]).await
    }

    pub(crate) async fn get_with(&self, uri: &str, headers: &[(&str, &str)]) -> Got {
        self.ask(Method::GET, uri, headers).await
    }
}

pub(crate) fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "example.org");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).expect("valid request")
}

/// A response with its collected body.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) failed: bool,
}

impl Got {
    pub(crate) async fn of<B>(response: Response<B>) -> Self
    where
        B: http_body::Body<Data = bytes::Bytes>,
    {
        let (head, body) = response.into_parts();
        let mut body = std::pin::pin!(body);
        let (mut bytes, mut failed) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend(frame.into_data().unwrap_or_default()),
                Err(_) => failed = true,
            }
        }
        let body = String::from_utf8(bytes).expect("UTF-8");
        Self { status: head.status, headers: head.headers, body, failed }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// Whether `Cache-Status` reports a hit.
    pub(crate) fn is_hit(&self) -> bool {
        self.header("cache-status").is_some_and(|status| status.contains("; hit"))
    }

    /// Returns the detail in `Cache-Status`: why the response is no hit, or was not stored.
    pub(crate) fn reason(&self) -> &str {
        self.header("cache-status")
            .and_then(|status| status.split("detail=").nth(1))
            .unwrap_or_default()
    }
}

impl fmt::Debug for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.status, self.headers, self.body)
    }
}

/// Waits for a condition that a background task or a server fulfils, for at most a minute of real
/// time: how often this task runs meanwhile depends on the machine.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(60), "the condition was not fulfilled");
        tokio::task::yield_now().await;
    }
}
