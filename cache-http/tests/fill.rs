//! Filling the cache: pages are produced by tasks that outlive the request that started them.

mod common;

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use cache_http::{HttpCacheLayer, Policy, Purge, Reason};
use common::{Cached, Got, Site, View, page, request, until};
use http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::{Semaphore, mpsc};
use tower::ServiceExt;
use tracing::{Instrument, Metadata, Span};

const CHUNK: usize = 1024;

/// A body that counts the chunks that were read, and whether it was dropped.
#[derive(Clone, Default)]
struct Watched {
    chunks: Arc<AtomicUsize>,
    dropped: Arc<AtomicBool>,
}

/// A body without an end that is watched.
struct Endless(Watched);

impl futures_core::Stream for Endless {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Pending every other time, as a body that comes from a network.
        if self.0.chunks.fetch_add(1, SeqCst).is_multiple_of(2) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(vec![b'x'; CHUNK].into()))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.dropped.store(true, SeqCst);
    }
}

/// A body whose chunks a test sends.
struct Sent(mpsc::UnboundedReceiver<&'static str>);

impl futures_core::Stream for Sent {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = ready!(self.0.poll_recv(context));
        if chunk == Some("panic") {
            panic!("the body panics");
        }
        Poll::Ready(chunk.map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}

/// Creates a view whose first response has a body that the test sends, and no known length.
fn sent_view() -> (View, mpsc::UnboundedSender<&'static str>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = Mutex::new(Some(receiver));
    let view = View::new(move |_, calls| {
        let mut response = page(&[("cache-control", "max-age=60")], &format!("page {calls}"));
        if let Some(receiver) = receiver.lock().expect("no panic").take() {
            *response.body_mut() = Body::new(StreamBody::new(Sent(receiver)));
        }
        response
    });
    (view, sender)
}

/// Creates a view whose responses wait for a permit each.
fn gated_view() -> (View, Arc<Semaphore>) {
    View::gated(|_, calls| page(&[("cache-control", "max-age=60")], &format!("page {calls}")))
}

fn layers(site: &Site) -> [HttpCacheLayer; 2] {
    let streaming = site.layer().policy(Policy::site().streaming(true));
    [streaming, site.shared().key_prefix("shared")]
}

fn spawn_get(cached: &Cached) -> tokio::task::JoinHandle<Got> {
    let cached = cached.clone();
    tokio::spawn(async move { cached.get("/").await })
}

async fn response(cached: &Cached) -> Response<impl http_body::Body<Data = Bytes> + use<>> {
    cached.0.clone().oneshot(request(Method::GET, "/", &[])).await.expect("infallible")
}

async fn page_of_a_client_that_disconnects_is_stored_for_those_who_wait(site: Site) {
    for layer in layers(&site) {
        let (view, gate) = gated_view();
        let cached = view.cached(&layer);
        let first = spawn_get(&cached);
        until(async || view.calls() == 1).await;
        let waiter = spawn_get(&cached);
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.expect_err("aborted").is_cancelled());
        gate.add_permits(1);
        assert_eq!(waiter.await.expect("task panicked").body, "page 0");
        assert_eq!((view.calls(), layer.counts().misses), (1, 1));
    }
}

async fn body_of_a_client_that_disconnects_is_stored(site: Site) {
    for layer in layers(&site) {
        let (view, sender) = sent_view();
        let cached = view.cached(&layer);
        sender.send("some").expect("body");
        drop(response(&cached).await);
        sender.send("more").expect("body");
        drop(sender);
        until(async || layer.counts().stored == 1).await;
        let got = cached.get("/").await;
        assert!(got.is_hit() && got.body == "somemore", "{got:?}");
    }
}

async fn client_that_reads_nothing_does_not_delay_others(site: Site) {
    for layer in layers(&site) {
        let (view, sender) = sent_view();
        let cached = view.cached(&layer);
        sender.send("some").expect("body");
        let mut slow = response(&cached).await;
        let waiter = spawn_get(&cached);
        sender.send("more").expect("body");
        drop(sender);
        assert_eq!(waiter.await.expect("task panicked").body, "somemore");
        assert_eq!(view.calls(), 1);
        let body = slow.body_mut().collect().await.map_err(|_| "failed").expect("body");
        assert_eq!(body.to_bytes(), "somemore");
    }
}

#[tokio::test]
async fn remainder_of_a_body_over_the_limit_is_read_at_the_pace_of_its_client() {
    let site = Site::in_memory();
    for (layer, policy) in
        [(site.layer(), Policy::site().streaming(true)), (site.shared(), Policy::shared())]
    {
        let watched = Watched::default();
        let body = watched.clone();
        let view = View::new(move |_, _| {
            let mut response = page(&[("cache-control", "max-age=60")], "");
            *response.body_mut() = Body::new(StreamBody::new(Endless(body.clone())));
            response
        });
        let layer = layer.policy(policy.max_body(4 * CHUNK as u64));
        let mut response = response(&view.cached(&layer)).await;
        until(async || layer.counts().reasons.contains(&(Reason::TooLarge, 1))).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let read = watched.chunks.load(SeqCst);
        assert!(read <= 2 * 5, "five chunks are over the limit, {read} were polled");
        for _ in 0..20 {
            let frame = response.body_mut().frame().await.expect("no end");
            assert_eq!(
                frame.map_err(|_| "failed").expect("frame").data_ref().expect("data").len(),
                CHUNK
            );
        }
        assert!(watched.chunks.load(SeqCst) <= 2 * 21);
        assert!(!watched.dropped.load(SeqCst));
        drop(response);
        assert!(watched.dropped.load(SeqCst), "the body ends with its reader");
    }
}

#[tokio::test]
async fn range_of_a_body_over_the_limit_is_not_read_beyond_its_end() {
    let site = Site::in_memory();
    let watched = Watched::default();
    let body = watched.clone();
    let view = View::new(move |_, _| {
        let mut response =
            page(&[("cache-control", "max-age=60"), ("content-length", "1048576")], "");
        *response.body_mut() = Body::new(StreamBody::new(Endless(body.clone())));
        response
    });
    let layer = site.shared().policy(Policy::shared().max_body(4 * CHUNK as u64));
    let got = view.cached(&layer).get_with("/", &[("range", "bytes=1000-1999")]).await;
    assert_eq!((got.status, got.body.len()), (StatusCode::PARTIAL_CONTENT, 1000));
    assert_eq!(got.header("content-range"), Some("bytes 1000-1999/1048576"));
    assert!(watched.chunks.load(SeqCst) <= 2 * 2 && watched.dropped.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn body_without_end_is_dropped_some_time_after_its_client_has_left() {
    let site = Site::in_memory();
    let (view, sender) = sent_view();
    let layer = site.shared();
    sender.send("some").expect("body");
    drop(response(&view.cached(&layer)).await);
    tokio::time::sleep(Duration::from_secs(50)).await;
    sender.send("more").expect("the body is still read");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(sender.is_closed());
    assert!(layer.counts().reasons.contains(&(Reason::Incomplete, 1)), "{:?}", layer.counts());
}

async fn body_that_exceeds_the_bytes_of_all_fills_passes_through(site: Site) {
    for layer in layers(&site) {
        let layer = layer.max_fill_bytes(2048);
        let (view, sender) = sent_view();
        let cached = view.cached(&layer);
        // The first body has no known length, and its client reads nothing.
        sender.send("0123456789".repeat(100).leak()).expect("body");
        let first = response(&cached).await;
        let large = View::new(|_, _| page(&[("cache-control", "max-age=60")], &"x".repeat(1000)));
        let large = large.cached(&layer);
        let got = large.get("/large").await;
        assert_eq!((got.body.len(), got.reason()), (1000, "fill-bytes"));
        sender.send("0123456789".repeat(100).leak()).expect("body");
        let reason = (Reason::FillBytes, 2);
        until(async || layer.counts().reasons.contains(&reason)).await;
        drop(sender);
        assert_eq!(Got::of(first).await.body.len(), 2000);
        assert!(!large.get("/large").await.is_hit(), "not stored");
        assert!(large.get("/large").await.is_hit(), "the other body is complete");
    }
}

async fn body_without_room_does_not_count_as_a_new_page(site: Site) {
    for layer in layers(&site) {
        let layer = layer.max_fill_bytes(500).new_page_limit(1, 0);
        let view = View::new(|request, _| {
            let length = if request.uri().path() == "/large" { 1000 } else { 10 };
            page(&[("cache-control", "max-age=60")], &"x".repeat(length))
        });
        let cached = view.cached(&layer);
        assert_eq!(cached.get("/large").await.reason(), "fill-bytes");
        cached.get("/small").await;
        assert!(cached.get("/small").await.is_hit());
    }
}

#[tokio::test]
async fn page_that_is_purged_before_its_task_runs_is_not_stored() {
    let site = Site::in_memory();
    for layer in layers(&site) {
        let view = View::with(&[("cache-control", "max-age=60")]);
        let cached = view.cached(&layer);
        let mut visit = pin!(cached.get("/"));
        // Spawns the task. It runs when this test waits for something.
        assert!(poll_fn(|context| Poll::Ready(visit.as_mut().poll(context).is_pending())).await);
        assert_eq!(view.calls(), 0);
        let purge = layer.purge_handle();
        purge.purge_uri("http://example.org/", Purge::Hard).await.expect("store works");
        assert_eq!(view.calls(), 0);
        assert_eq!(visit.await.reason(), "purged");
    }
}

#[tokio::test]
async fn panic_of_the_handler_reaches_its_client_and_a_waiter_takes_over() {
    let site = Site::in_memory();
    for layer in layers(&site) {
        let (view, gate) = View::gated(|_, calls| {
            assert!(calls > 0, "the handler panics");
            page(&[("cache-control", "max-age=60")], "from another")
        });
        let cached = view.cached(&layer);
        let first = spawn_get(&cached);
        until(async || view.calls() == 1).await;
        let waiter = spawn_get(&cached);
        tokio::task::yield_now().await;
        gate.add_permits(2);
        let panic = first.await.expect_err("the handler panics").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the handler panics"));
        assert_eq!(waiter.await.expect("task panicked").body, "from another");
    }
}

#[tokio::test]
async fn panic_of_a_body_reaches_its_reader() {
    let site = Site::in_memory();
    for layer in layers(&site) {
        let (view, sender) = sent_view();
        let first = spawn_get(&view.cached(&layer));
        until(async || view.calls() == 1).await;
        sender.send("some").expect("body");
        sender.send("panic").expect("body");
        let panic = first.await.expect_err("the body panics").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the body panics"));
        assert!(layer.counts().reasons.contains(&(Reason::Incomplete, 1)), "{:?}", layer.counts());
    }
}

#[tokio::test]
async fn limited_number_of_handlers_outlive_their_clients() {
    let site = Site::in_memory();
    for layer in layers(&site) {
        let running = Arc::new(());
        let held = Arc::clone(&running);
        let view = View::waiting(move |_, _| {
            let held = Arc::clone(&held);
            async move {
                std::future::pending::<()>().await;
                drop(held);
                page(&[], "")
            }
        });
        let cached = view.cached(&layer);
        for number in 0..300 {
            let cached = cached.clone();
            let visit = tokio::spawn(async move { cached.get(&format!("/{number}")).await });
            until(async || view.calls() == number + 1).await;
            visit.abort();
            assert!(visit.await.expect_err("aborted").is_cancelled());
        }
        // One reference is here, and one in the view.
        until(async || Arc::strong_count(&running) == 2 + 256).await;
    }
}

#[tokio::test]
async fn handler_of_a_request_that_no_other_waits_for_ends_with_its_client() {
    let site = Site::in_memory();
    for (method, header) in [(Method::POST, ("accept", "*/*")), (Method::GET, ("cookie", "who=me"))]
    {
        let dropped = Arc::new(AtomicBool::new(false));
        let watched = Watched { dropped: Arc::clone(&dropped), ..Watched::default() };
        let view = View::waiting(move |_, _| {
            let held = Endless(watched.clone());
            async move {
                std::future::pending::<()>().await;
                drop(held);
                page(&[], "")
            }
        });
        let cached = view.cached(&site.layer());
        let visit = tokio::spawn(async move { cached.ask(method, "/", &[header]).await });
        until(async || view.calls() == 1).await;
        visit.abort();
        assert!(visit.await.expect_err("aborted").is_cancelled());
        assert!(dropped.load(SeqCst), "{header:?}");
    }
}

#[tokio::test]
async fn handler_runs_in_the_span_of_its_request() {
    xtask::run_alone!();
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry());
    let view = View::waiting(|_, _| async {
        let name = Span::current().metadata().map_or("none", Metadata::name);
        page(&[("cache-control", "max-age=10, stale-while-revalidate=99")], name)
    });
    let site = Site::in_memory();
    let cached = view.cached(&site.layer());
    let get = async |span: Span| cached.get("/").instrument(span).await.body;
    assert_eq!(get(tracing::info_span!("first")).await, "first");
    site.advance(11);
    assert_eq!(get(tracing::info_span!("second")).await, "first", "stale");
    until(async || cached.get("/").await.body == "second").await;
}

on_each_store! {
    page_of_a_client_that_disconnects_is_stored_for_those_who_wait,
    body_of_a_client_that_disconnects_is_stored,
    client_that_reads_nothing_does_not_delay_others,
    body_that_exceeds_the_bytes_of_all_fills_passes_through,
    body_without_room_does_not_count_as_a_new_page,
}
