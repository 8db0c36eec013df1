//! gRPC, where each call is a POST and its outcome a trailer: it passes through the layer as it is.

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
        HealthCheckRequest, health_check_response::ServingStatus as Told,
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
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let address = listener.local_addr().expect("it listens");
    let server = Server::builder().layer(layer).add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let channel =
        Endpoint::from_shared(format!("http://{address}")).expect("it is a URL").connect().await;
    (HealthClient::new(channel.expect("it listens")), reporter)
}

#[tokio::test]
async fn calls_pass_by_and_their_answers_and_errors_arrive() {
    let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    let layer = HttpCacheLayer::new(&cache);
    let (mut client, reporter) = connect(layer.clone()).await;
    for (status, told) in
        [(ServingStatus::Serving, Told::Serving), (ServingStatus::NotServing, Told::NotServing)]
    {
        reporter.set_service_status("shop", status).await;
        let answer = client.check(request("shop")).await.expect("it is known");
        assert_eq!(answer.into_inner().status(), told);
    }
    let error = client.check(request("unknown")).await.expect_err("it is not known");
    assert_eq!(error.code(), Code::NotFound);
    let counts = layer.counts();
    assert_eq!(
        (counts.bypasses, counts.hits, counts.stored, &*counts.reasons),
        (3, 0, 0, &[(Reason::Method, 3)][..])
    );
}
