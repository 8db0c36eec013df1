//! Tests of the Grafana dashboard and the alert rules.

mod site;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use cachette::observe::{METRICS, MetricKind};
use serde_json::Value;
use site::Site;
use xtask::servers::Prometheus;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).expect("the file exists")
}

/// Returns the names of metrics in a text, without the endings of a histogram.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let is_histogram = |name: &&str| {
        METRICS.iter().any(|metric| metric.name == *name && metric.kind == MetricKind::Histogram)
    };
    let names = words.filter(|word| word.starts_with("cachette_"));
    names
        .map(|name| {
            let endings = ["_bucket", "_sum", "_count"].into_iter();
            endings.filter_map(|end| name.strip_suffix(end)).find(is_histogram).unwrap_or(name)
        })
        .collect()
}

fn described() -> BTreeSet<&'static str> {
    METRICS.iter().map(|metric| metric.name).collect()
}

/// Returns the title and the query of each target of the dashboard.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/cachette.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().expect("targets");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        targets.iter().map(move |target| (text(&panel["title"]), text(&target["expr"])))
    });
    queries.collect()
}

#[test]
fn dashboard_and_alerts_use_metrics_that_are_described() {
    for file in ["docs/grafana/cachette.json", "docs/grafana/alerts.yml"] {
        let text = read(file);
        let used = names(&text);
        assert!(used.len() >= 5, "{used:?}");
        let unknown: Vec<_> = used.difference(&described()).copied().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn dashboard_shows_every_metric_of_observed_caches() {
    let text = read("docs/grafana/cachette.json");
    let shown = names(&text);
    for metric in METRICS.iter().filter(|metric| metric.is_observed) {
        assert!(shown.contains(metric.name), "{}", metric.name);
    }
}

#[test]
fn documented_table_is_the_list_of_metrics() {
    let page = read("docs/observability.md");
    let rows = page.lines().filter(|line| line.starts_with("| `cachette_"));
    let documented: Vec<String> = rows.map(str::to_owned).collect();
    let expected: Vec<String> = METRICS
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {} | {} |", metric.name, labels.join(", "), metric.help)
        })
        .collect();
    assert_eq!(documented, expected, "expected:\n{}", expected.join("\n"));
}

/// Every metric that a crate publishes is in the list that describes them.
#[test]
fn metrics_of_all_crates_are_described() {
    let mut sources = Vec::new();
    let crates = fs::read_dir(path("")).expect("the repository").flatten();
    let crates = crates.map(|entry| entry.path().join("src"));
    let is_product = |folder: &PathBuf| folder.is_dir() && !folder.ends_with("xtask/src");
    for folder in crates.filter(is_product).chain([path("src")]) {
        collect_sources(&folder, &mut sources);
    }
    assert!(sources.len() > 100, "{}", sources.len());
    for file in sources {
        let text = fs::read_to_string(&file).expect("a source file");
        let literals = text.split('"').skip(1).step_by(2);
        let names = literals
            .filter(|literal| literal.starts_with("cachette_") && literal.ends_with("_total"));
        for name in names {
            assert!(described().contains(name), "{}: {name}", file.display());
        }
    }
}

fn collect_sources(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}

#[test]
fn alert_rules_are_valid() {
    let report = Prometheus::check_rules(&path("docs/grafana/alerts.yml")).expect("valid rules");
    assert!(report.contains("SUCCESS: 7 rules found"), "{report}");
}

struct Scraped {
    site: Site,
    prometheus: Prometheus,
}

impl Scraped {
    fn start() -> Self {
        let site = Site::start();
        let (_, port) = site.address.rsplit_once(':').expect("a port");
        let prometheus = Prometheus::start(port.parse().expect("a number")).expect("Prometheus");
        // It listens before it can answer queries.
        let (address, start) = (format!("127.0.0.1:{}", prometheus.port()), Instant::now());
        while site::http::send(&address, "GET", "/-/ready", &[], "").status != 200 {
            assert!(start.elapsed() < Duration::from_secs(60), "Prometheus is not ready");
            thread::sleep(Duration::from_millis(100));
        }
        Self { site, prometheus }
    }

    /// Evaluates a query and returns its result, a list.
    fn query(&self, query: &str) -> Vec<Value> {
        let address = format!("127.0.0.1:{}", self.prometheus.port());
        let form: String = form_urlencoded(query);
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let response = site::http::send(&address, "POST", "/api/v1/query", &headers, &form);
        let reply: Value = serde_json::from_str(&response.body).expect("JSON");
        assert_eq!(reply["status"], "success", "{query}: {reply}");
        reply["data"]["result"].as_array().expect("a vector").clone()
    }
}

fn form_urlencoded(query: &str) -> String {
    let encoded = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
    format!("query={encoded}")
}

/// Panels that show nothing as long as nothing goes wrong. The queries of the others have a result.
const QUIET: [&str; 4] = [
    "Calls that waited for a value",
    "Outages",
    "Stale values served by reason",
    "Undecodable entries",
];

#[test]
fn queries_of_the_dashboard_have_results_for_the_example_site() {
    let scraped = Scraped::start();
    let render = |query: &str| query.replace("$__rate_interval", "1m").replace("$cache", ".*");
    let (start, all) = (Instant::now(), queries());
    assert!(all.len() >= 12, "{}", all.len());
    for (title, query) in all {
        let query = render(&query);
        assert!(!query.contains('$'), "{query}");
        // A rate needs two scrapes, and a number that is not NaN needs traffic between them.
        while scraped.query(&query).is_empty() && !QUIET.contains(&&*title) {
            assert!(start.elapsed() < Duration::from_secs(60), "{title}: no result of {query}");
            for path in ["/", "/today", "/account"] {
                scraped.site.get(path);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn hits_in_prometheus_are_those_of_the_site() {
    let scraped = Scraped::start();
    for _ in 0..50 {
        scraped.site.get("/");
    }
    let query = "sum(cachette_http_requests_total{result='hit'})";
    let start = Instant::now();
    let hits = || scraped.query(query).first().map(|sample| sample["value"][1].clone());
    while hits().is_none_or(|hits| hits != "49") {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", hits());
        thread::sleep(Duration::from_millis(200));
    }
}
