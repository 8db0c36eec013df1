//! gRPC calls, which are POST requests whose status is a trailer, bypass the cache unchanged.

use std::sync::Arc;

use cache_core::{CacheHandle, Settings};
use cache_http::{HttpCacheLayer, Reason};
use cache_locmem::LocMemCache;
use tokio::net::TcpListener;
use tonic::{
    Code,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, health_check_response::ServingStatus as Health,
        health_client::HealthClient,
    },
    server::health_reporter,
};

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn connect(
    layer: HttpCacheLayer,
) -> (HealthClient<Channel>, tonic_health::server::HealthReporter) {
    let (reporter, health) = health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("local address");
    let server = Server::builder().layer(layer).add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let channel =
        Endpoint::from_shared(format!("http://{address}")).expect("valid URL").connect().await;
    (HealthClient::new(channel.expect("connect")), reporter)
}

#[tokio::test]
async fn grpc_calls_bypass_the_cache() {
    let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    let layer = HttpCacheLayer::new(&cache);
    let (mut client, reporter) = connect(layer.clone()).await;
    for (status, health) in
        [(ServingStatus::Serving, Health::Serving), (ServingStatus::NotServing, Health::NotServing)]
    {
        reporter.set_service_status("shop", status).await;
        let response = client.check(request("shop")).await.expect("known service");
        assert_eq!(response.into_inner().status(), health);
    }
    let error = client.check(request("unknown")).await.expect_err("unknown service");
    assert_eq!(error.code(), Code::NotFound);
    let counts = layer.counts();
    assert_eq!(
        (counts.bypasses, counts.hits, counts.stored, &*counts.reasons),
        (3, 0, 0, &[(Reason::Method, 3)][..])
    );
}
