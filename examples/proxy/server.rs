//! The side that clients see.

use std::time::Duration;

use cachette::http::HttpCacheLayer;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower_layer::Layer;

use crate::forward::Forward;

/// Serves whoever connects, for ever.
pub(crate) async fn serve(listener: TcpListener, origin: Forward, cache: &HttpCacheLayer) {
    let service = cache.layer(origin);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // There may be too many connections at the moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let mut server = Builder::new(TokioExecutor::new());
            // What the origin sends goes on as it is.
            server
                .http1()
                .timer(TokioTimer::new())
                .preserve_header_case(true)
                .auto_date_header(false);
            server.http2().timer(TokioTimer::new()).auto_date_header(false);
            // A client that breaks off has nobody to be told.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
