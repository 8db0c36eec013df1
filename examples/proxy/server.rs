//! The server.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use cachette::http::{CachedBody, HttpCache, HttpCacheLayer};
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower_layer::Layer;

use crate::{
    forward::{Forward, ForwardedBody, text_response},
    host,
};

/// Serves all connections. Never returns.
pub(crate) async fn serve(listener: TcpListener, origin: Forward, cache: &HttpCacheLayer) {
    let cached = cache.layer(origin);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The process may be out of file descriptors.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let cached = cached.clone();
        let service = service_fn(move |request| respond(cached.clone(), request));
        tokio::spawn(async move {
            let mut server = Builder::new(TokioExecutor::new());
            // Headers of the origin are passed on unchanged.
            server
                .http1()
                .timer(TokioTimer::new())
                .preserve_header_case(true)
                .auto_date_header(false);
            server.http2().timer(TokioTimer::new()).auto_date_header(false);
            // An error means that the client disconnected.
            let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

type Body = Either<CachedBody<ForwardedBody>, Full<Bytes>>;

/// Responds to a request, which reaches the cache only if its host is valid.
async fn respond(
    cached: HttpCache<Forward>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if let Err(text) = host::check(&mut request) {
        return Ok(text_response(StatusCode::BAD_REQUEST, text).map(Either::Right));
    }
    Ok(TowerToHyperService::new(cached).call(request).await?.map(Either::Left))
}
