//! The server.

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

/// Serves all connections. Never returns.
pub(crate) async fn serve(listener: TcpListener, origin: Forward, cache: &HttpCacheLayer) {
    let service = cache.layer(origin);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The process may be out of file descriptors.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(service.clone());
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
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
