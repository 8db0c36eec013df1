//! Tests of the example `site` in Chromium.
//!
//! `cargo xtask browser` installs what is missing and runs them.

mod driver;
#[path = "../site/mod.rs"]
mod site;

use driver::{Browser, ENTER, TAB};
use serde_json::Value;
use site::Site;
use xtask::servers::ChromeDriver;

/// A site and a driver for the browsers of its visitors.
struct Fixture {
    site: Site,
    driver: ChromeDriver,
}

impl Fixture {
    fn new() -> Self {
        let driver = ChromeDriver::start().expect("Chromium; `cargo xtask browser` installs it");
        Self { site: Site::start(), driver }
    }

    /// Starts the site with a panel on each page.
    fn debug() -> Self {
        let driver = ChromeDriver::start().expect("Chromium; `cargo xtask browser` installs it");
        Self { site: Site::start_debug(), driver }
    }

    fn browser(&self) -> Browser {
        Browser::start(&self.driver)
    }

    fn go(&self, browser: &Browser, path: &str) {
        browser.go(&self.site.url(path));
    }

    /// The statistics of a layer from `/caches/live`.
    fn layer(&self, name: &str) -> Value {
        let live: Value =
            serde_json::from_str(&self.site.get("/caches/live").body).expect("valid JSON");
        let layers = live["layers"].as_array().expect("layers");
        layers.iter().find(|layer| layer["name"] == name).expect("a known layer").clone()
    }
}

/// The outcome of the response, which the footer shows.
fn outcome(browser: &Browser) -> String {
    browser.wait_for("the footer", |browser| browser.text("#answer"), |text| !text.is_empty())
}

fn number(text: &str) -> Option<u64> {
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[test]
fn second_request_of_the_front_page_is_a_faster_hit() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    fixture.go(&browser, "/");
    let (first, made) = (outcome(&browser), browser.text("#made"));
    assert!(first.ends_with(" miss"), "{first}");
    fixture.go(&browser, "/");
    let again = outcome(&browser);
    assert!(again.ends_with(" hit"), "{again}");
    assert_eq!(browser.text("#made"), made, "the same page");
    // The browser did not use its own cache: the site served two requests.
    let site = fixture.layer("site");
    assert_eq!((&site["hits"], &site["stored"]), (&1.into(), &1.into()), "{site}");

    fixture.go(&browser, "/caches");
    let faster = "[data-layer=site] [data-field=faster]";
    let faster =
        browser.wait_for("a factor", |browser| number(&browser.text(faster)), Option::is_some);
    assert!(faster.is_some_and(|faster| faster >= 10), "{faster:?}");
    assert_eq!(browser.text("[data-layer=site] [data-field=hits]"), "1");
}

#[test]
fn signed_in_visitors_never_see_the_page_of_another_visitor() {
    let fixture = Fixture::new();
    let visitors = [("Ada Lovelace", fixture.browser()), ("Grace Hopper", fixture.browser())];
    for (name, browser) in &visitors {
        fixture.go(browser, "/account");
        browser.write("[name=name]", name);
        browser.click("main button");
        browser.wait_for(
            "a greeting",
            |browser| browser.text("h1"),
            |text| text.starts_with("Hello"),
        );
    }
    for visits in 2..4 {
        for (name, browser) in &visitors {
            fixture.go(browser, "/account");
            assert_eq!(browser.text("#visitor"), *name);
            assert_eq!(browser.text("#visits"), visits.to_string());
            assert!(outcome(browser).ends_with(" bypass"), "{}", outcome(browser));
        }
    }
    visitors[0].1.click("main button");
    visitors[0].1.wait_for("the form", |browser| browser.text("h1"), |text| text == "Account");
    let stranger = fixture.browser();
    fixture.go(&stranger, "/account");
    assert_eq!(stranger.text("h1"), "Account");
}

#[test]
fn fragments_are_cached_and_the_rest_of_the_page_is_not() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    let times = |path: &str| {
        fixture.go(&browser, path);
        ["#now", "#fragment-branch .made", "#fragment-kept .made"].map(|part| browser.text(part))
    };
    let [now, branch, kept] = times("/today");
    let [later, branch_again, kept_again] = times("/today");
    assert_ne!(now, later);
    assert_eq!([&branch, &kept], [&branch_again, &kept_again]);
    let [_, other_branch, kept_still] = times("/today?branch=Station");
    assert_ne!(branch, other_branch, "each branch has its own fragment");
    assert_eq!(kept, kept_still, "all branches share this fragment");
}

#[test]
fn review_is_visible_to_all_visitors_at_once() {
    let fixture = Fixture::new();
    let (writer, reader) = (fixture.browser(), fixture.browser());
    for browser in [&writer, &reader] {
        fixture.go(browser, "/books/12");
    }
    assert!(outcome(&reader).ends_with(" hit"), "{}", outcome(&reader));
    writer.write("[name=name]", "Ada");
    writer.write("[name=text]", "Better than <b>tea</b> & cake.");
    writer.click("main form button");
    writer.wait_for("the redirect", Browser::url, |url| url.ends_with("/books/12#reviews"));
    reader.reload();
    for browser in [&writer, &reader] {
        let newest = browser.text(".reviews li");
        assert!(newest.contains("Better than <b>tea</b> & cake."), "{newest}");
    }
    assert!(
        outcome(&reader).ends_with(" hit"),
        "the page is rendered once for all visitors: {}",
        outcome(&reader)
    );
}

#[test]
fn cache_statistics_update_while_the_page_is_open() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    fixture.go(&browser, "/caches");
    browser.run("window.sameDocument = true");
    let hits = |browser: &Browser| number(&browser.text("[data-layer=site] [data-field=hits]"));
    assert_eq!(browser.wait_for("a number", hits, Option::is_some), Some(0));
    for _ in 0..3 {
        fixture.site.get("/");
    }
    browser.wait_for("two hits", hits, |seen| *seen == Some(2));
    let newest = browser.text("#last tr");
    assert!(newest.contains("GET /") && newest.contains("site; hit"), "{newest}");
    let lookups = browser.text("[data-alias=pages] [data-field=hits]");
    assert!(number(&lookups).is_some_and(|count| count >= 2), "{lookups}");
    assert_eq!(
        browser.run("return window.sameDocument"),
        Value::Bool(true),
        "the page was not reloaded"
    );
}

#[test]
fn pages_can_be_purged_with_the_keyboard() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    for outcome in ["stored", "hit"] {
        assert!(fixture.site.get("/").cache_status().contains(outcome));
    }
    fixture.go(&browser, "/caches");
    let focus =
        |browser: &Browser| browser.run("return document.activeElement.textContent").to_string();
    let reached = (0..20).any(|_| {
        browser.press(TAB);
        focus(&browser).contains("Purge the pages of site")
    });
    assert!(reached, "the focus is on {}", focus(&browser));
    let outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid", "the focus is visible");
    browser.press(ENTER);
    browser.wait_for(
        "a message",
        |browser| browser.text("#message"),
        |text| text.contains("are purged"),
    );
    fixture.go(&browser, "/");
    assert!(outcome(&browser).ends_with(" miss"), "{}", outcome(&browser));
}

#[test]
fn store_can_be_cleared() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    fixture.go(&browser, "/account");
    browser.write("[name=name]", "Ada");
    browser.click("main button");
    browser.wait_for("a greeting", |browser| browser.text("h1"), |text| text == "Hello, Ada");
    fixture.go(&browser, "/caches");
    let entries = |browser: &Browser| browser.text("[data-alias=sessions] [data-field=entries]");
    browser.wait_for("the session", entries, |entries| entries == "2");
    browser.click("[data-alias=sessions] button");
    browser.wait_for("an empty store", entries, |entries| entries == "0");
    fixture.go(&browser, "/account");
    assert_eq!(browser.text("h1"), "Account");
}

const PAGES: [&str; 7] = ["/", "/books", "/books/7", "/today", "/account", "/about", "/caches"];

#[test]
fn no_page_writes_to_the_console() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    for path in PAGES {
        fixture.go(&browser, path);
        if path == "/caches" {
            browser.wait_for("numbers", |browser| browser.text("#live"), |text| text == "live");
        }
        assert_eq!(browser.console(), Vec::<String>::new(), "{path}");
    }
    // The console does report errors. Otherwise the assertions above would prove nothing.
    browser.run("setTimeout(() => { throw new Error('expected') })");
    browser.wait_for(
        "an error",
        |browser| browser.console().join(""),
        |text| text.contains("expected"),
    );
}

#[test]
fn no_page_is_wider_than_a_phone() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    browser.resize(500, 900);
    for path in PAGES {
        fixture.go(&browser, path);
        let wide =
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth";
        assert_eq!(browser.run(wide), 0, "{path}");
    }
}

/// Opens `/caches` after enough requests to fill its list, and waits for the numbers.
fn open_caches(fixture: &Fixture, browser: &Browser) {
    for _ in 0..25 {
        fixture.site.get("/");
    }
    fixture.go(browser, "/caches");
    let rows =
        |browser: &Browser| browser.run("return document.querySelectorAll('#last tr').length");
    browser.wait_for("the requests", rows, |rows| *rows == 20);
}

#[test]
fn caches_page_is_at_most_four_screens_long_on_a_phone() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    browser.resize(500, 844);
    open_caches(&fixture, &browser);
    let height = browser.run("return document.documentElement.scrollHeight");
    assert!(height.as_u64().is_some_and(|height| height <= 4 * 844), "{height}");
}

#[test]
fn pages_fit_a_phone_in_light_and_dark() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    for color_scheme in ["light", "dark"] {
        browser.emulate(390, color_scheme);
        for path in PAGES {
            fixture.go(&browser, path);
            let wide = "const page = document.documentElement; return page.scrollWidth - 390";
            assert_eq!(browser.run(wide), 0, "{path}, {color_scheme}");
        }
        open_caches(&fixture, &browser);
        let height = browser.run("return document.documentElement.scrollHeight");
        assert!(height.as_u64().is_some_and(|height| height <= 3600), "{color_scheme}: {height}");
    }
}

#[test]
fn paths_of_requests_are_not_broken_on_a_phone() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    browser.emulate(390, "light");
    fixture.site.get("/books/7");
    fixture.go(&browser, "/caches");
    let lines = "
        const path = document.querySelector('#last .path');
        if (path === null) return 0;
        const range = document.createRange();
        range.selectNodeContents(path);
        return range.getClientRects().length;";
    browser.wait_for("a request in one line", |browser| browser.run(lines), |lines| *lines == 1);
}

#[test]
fn clear_buttons_are_inside_their_rows() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    for (width, height) in [(1280, 900), (1000, 900), (500, 844)] {
        browser.resize(width, height);
        open_caches(&fixture, &browser);
        let outside = "
            const outside = [];
            for (const button of document.querySelectorAll('.stores button')) {
                const inner = button.getBoundingClientRect();
                const row = button.closest('tr').getBoundingClientRect();
                const card = button.closest('.scroll').getBoundingClientRect();
                const isInside = inner.top >= row.top + 4 && inner.bottom <= row.bottom - 4
                    && inner.right <= card.right - 8;
                if (!isInside) outside.push(JSON.stringify([inner, row, card]));
            }
            return outside.join();";
        assert_eq!(browser.run(outside), "", "at {width} pixels");
    }
}

#[test]
fn last_requests_have_the_time_of_day() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    open_caches(&fixture, &browser);
    let time = browser.text("#last tr .at");
    let digits = time.bytes().filter(u8::is_ascii_digit).count();
    assert!(time.len() == "HH:MM:SS".len() && digits == 6, "{time:?}");
}

#[test]
fn response_time_of_a_page_without_a_cache_is_shown() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    fixture.go(&browser, "/caches");
    let shown = outcome(&browser);
    assert!(shown.ends_with(" ms"), "{shown}");
}

#[test]
fn bars_say_that_their_scale_is_logarithmic() {
    let fixture = Fixture::new();
    let browser = fixture.browser();
    fixture.go(&browser, "/caches");
    let scale = browser.text("[data-layer=site] .scale");
    assert!(scale.contains("logarithmic scale"), "{scale}");
}

/// Runs an expression with `root`, the shadow tree of the panel.
fn panel(browser: &Browser, expression: &str) -> Value {
    let root = "document.querySelector('cachette-calls').shadowRoot";
    browser.run(&format!("const root = {root}; return {expression};"))
}

#[test]
fn panel_opens_with_the_keyboard_and_shows_the_calls_of_the_page() {
    let fixture = Fixture::debug();
    let browser = fixture.browser();
    fixture.go(&browser, "/today");
    panel(&browser, "root.querySelector('summary').focus()");
    let outline = panel(&browser, "getComputedStyle(root.activeElement).outlineStyle");
    assert_eq!(outline, "solid", "the focus is visible");
    browser.press(ENTER);
    browser.wait_for(
        "the open panel",
        |browser| panel(browser, "root.querySelector('details').open"),
        |is_open| *is_open == Value::Bool(true),
    );
    let rows = panel(&browser, "root.querySelector('tbody').innerText").to_string();
    for shown in ["get", "miss", "produce", "fragment.", "default (filebased)"] {
        assert!(rows.contains(shown), "{shown}: {rows}");
    }
    fixture.go(&browser, "/today");
    let summary = panel(&browser, "root.querySelector('summary').innerText").to_string();
    assert!(!summary.contains(" 0 hits"), "{summary}");
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn panel_is_not_part_of_the_stored_page() {
    let fixture = Fixture::debug();
    let browser = fixture.browser();
    for outcome in [" miss", " hit"] {
        fixture.go(&browser, "/");
        assert_eq!(browser.run("return document.querySelectorAll('cachette-calls').length"), 1);
        assert!(self::outcome(&browser).ends_with(outcome), "{}", self::outcome(&browser));
    }
    let headers = [("x-forwarded-for", "192.0.2.1")];
    let response = site::http::send(&fixture.site.address, "GET", "/", &headers, "");
    assert!(response.cache_status().contains("hit"));
    assert!(!response.body.contains("cachette-calls"));
}

#[test]
fn panel_is_readable_on_a_phone_in_light_and_dark() {
    let fixture = Fixture::debug();
    let browser = fixture.browser();
    for color_scheme in ["light", "dark"] {
        browser.emulate(390, color_scheme);
        fixture.go(&browser, "/today");
        panel(&browser, "root.querySelector('details').open = true");
        let wide = "const page = document.documentElement; return page.scrollWidth - 390";
        assert_eq!(browser.run(wide), 0, "{color_scheme}");
        let wide = panel(
            &browser,
            "Math.max(...['.scroll', 'table'].map(part => root.querySelector(part)) \
             .map(part => part.scrollWidth - part.clientWidth))",
        );
        assert_eq!(wide, 0, "{color_scheme}");
        let background =
            panel(&browser, "getComputedStyle(root.querySelector('details')).backgroundColor");
        let expected =
            if color_scheme == "dark" { "rgb(21, 25, 31)" } else { "rgb(255, 255, 255)" };
        assert_eq!(background, expected);
    }
}
