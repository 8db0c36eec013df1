//! `Accept-Language` reduced to the languages of a site.

mod common;

use axum::body::Body;
use cache_http::{HttpCacheLayer, Policy};
use common::{Site, View, page};
use http::{Request, header::ACCEPT_LANGUAGE};

/// A view that prints the `Accept-Language` that it sees.
fn view() -> View {
    View::new(|request: Request<Body>, _| {
        let language = request.headers().get(ACCEPT_LANGUAGE).map(|value| value.to_str());
        let headers = [("cache-control", "max-age=60"), ("vary", "Accept-Language")];
        page(&headers, language.transpose().expect("ASCII").unwrap_or("none"))
    })
}

fn presets(site: &Site) -> [(HttpCacheLayer, Policy); 2] {
    [
        (site.layer().key_prefix("site"), Policy::site()),
        (site.shared().key_prefix("shared"), Policy::shared()),
    ]
}

async fn pages_have_one_variant_for_each_language_of_the_site(site: Site) {
    for (layer, policy) in presets(&site) {
        let view = view();
        let cached = view.cached(&layer.policy(policy.languages(["en", "de", "pt-BR"])));
        for (line, language) in [
            ("de-CH,de;q=0.9,en;q=0.8", "de"),
            ("DE;q=0.2", "de"),
            ("en-GB,en", "en"),
            ("it, *;q=0.1", "en"),
            ("pt-br", "pt-BR"),
            ("pt", "pt-BR"),
        ] {
            let got = cached.get_with("/", &[("accept-language", line)]).await;
            assert_eq!(got.body, language, "{line}");
        }
        assert_eq!(view.calls(), 3);
        assert!(cached.get("/").await.is_hit(), "the default language");
        assert!(cached.get_with("/", &[("accept-language", "de")]).await.is_hit());
    }
}

async fn request_without_the_header_is_seen_with_the_default_language(site: Site) {
    for (layer, policy) in presets(&site) {
        let cached = view().cached(&layer.policy(policy.languages(["en", "de"])));
        assert_eq!(cached.get("/").await.body, "en");
    }
}

async fn each_header_has_a_variant_if_no_languages_are_set(site: Site) {
    for (layer, policy) in presets(&site) {
        let view = view();
        let cached = view.cached(&layer.policy(policy));
        for line in ["de", "de,en", "de-CH"] {
            let got = cached.get_with("/", &[("accept-language", line)]).await;
            assert_eq!(got.body, line);
        }
        assert_eq!(view.calls(), 3);
    }
}

async fn request_that_bypasses_the_cache_keeps_its_languages(site: Site) {
    let cached = view().cached(&site.layer().policy(Policy::site().languages(["en"])));
    let headers = [("accept-language", "fr, de"), ("authorization", "Basic x")];
    assert_eq!(cached.get_with("/", &headers).await.body, "fr, de");
}

on_each_store! {
    pages_have_one_variant_for_each_language_of_the_site,
    request_without_the_header_is_seen_with_the_default_language,
    each_header_has_a_variant_if_no_languages_are_set,
    request_that_bypasses_the_cache_keeps_its_languages,
}
