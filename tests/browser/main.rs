//! The example `site` as its visitors see it: in Chromium. `cargo xtask browser` installs what is missing and runs this.

mod driver;
#[path = "../site/mod.rs"]
mod site;

use driver::{Browser, ENTER, TAB};
use serde_json::Value;
use site::Site;
use xtask::servers::ChromeDriver;

/// A site with one visitor, or more.
struct Visit {
    site: Site,
    driver: ChromeDriver,
}

impl Visit {
    fn new() -> Self {
        let driver = ChromeDriver::start().expect("`cargo xtask browser` installs it");
        Self { site: Site::start(), driver }
    }

    fn visitor(&self) -> Browser {
        Browser::start(&self.driver)
    }

    fn go(&self, browser: &Browser, path: &str) {
        browser.go(&self.site.url(path));
    }

    /// What `/caches/live` says of a layer.
    fn layer(&self, name: &str) -> Value {
        let live: Value =
            serde_json::from_str(&self.site.get("/caches/live").body).expect("it is JSON");
        let layers = live["layers"].as_array().expect("there are layers");
        layers.iter().find(|layer| layer["name"] == name).expect("it is there").clone()
    }
}

/// How this very answer came about, as the footer tells.
fn outcome(browser: &Browser) -> String {
    browser.wait_for("the footer", |browser| browser.text("#answer"), |said| !said.is_empty())
}

fn number(text: &str) -> Option<u64> {
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[test]
fn the_second_look_at_the_front_page_is_a_hit_and_many_times_quicker() {
    let visit = Visit::new();
    let browser = visit.visitor();
    visit.go(&browser, "/");
    let (first, made) = (outcome(&browser), browser.text("#made"));
    assert!(first.ends_with(" miss"), "{first}");
    visit.go(&browser, "/");
    let again = outcome(&browser);
    assert!(again.ends_with(" hit"), "{again}");
    assert_eq!(browser.text("#made"), made, "it is the same page");
    // Neither did the browser take it from its own cache, nor was it only told so: the site was asked twice.
    let site = visit.layer("site");
    assert_eq!((&site["hits"], &site["stored"]), (&1.into(), &1.into()), "{site}");

    visit.go(&browser, "/caches");
    let faster = "[data-layer=site] [data-field=faster]";
    let faster =
        browser.wait_for("a factor", |browser| number(&browser.text(faster)), Option::is_some);
    assert!(faster.is_some_and(|faster| faster >= 10), "{faster:?}");
    assert_eq!(browser.text("[data-layer=site] [data-field=hits]"), "1");
}

#[test]
fn two_who_are_signed_in_never_see_each_other_s_page() {
    let visit = Visit::new();
    let visitors = [("Ada Lovelace", visit.visitor()), ("Grace Hopper", visit.visitor())];
    for (name, browser) in &visitors {
        visit.go(browser, "/account");
        browser.write("[name=name]", name);
        browser.click("main button");
        browser.wait_for(
            "a greeting",
            |browser| browser.text("h1"),
            |said| said.starts_with("Hello"),
        );
    }
    for visits in 2..4 {
        for (name, browser) in &visitors {
            visit.go(browser, "/account");
            assert_eq!(browser.text("#visitor"), *name);
            assert_eq!(browser.text("#visits"), visits.to_string());
            assert!(outcome(browser).ends_with(" bypass"), "{}", outcome(browser));
        }
    }
    visitors[0].1.click("main button");
    visitors[0].1.wait_for("the form", |browser| browser.text("h1"), |said| said == "Account");
    let stranger = visit.visitor();
    visit.go(&stranger, "/account");
    assert_eq!(stranger.text("h1"), "Account");
}

#[test]
fn of_a_page_with_fragments_the_fresh_part_is_fresh_and_the_others_stay() {
    let visit = Visit::new();
    let browser = visit.visitor();
    let made = |path: &str| {
        visit.go(&browser, path);
        ["#now", "#fragment-branch .made", "#fragment-kept .made"].map(|part| browser.text(part))
    };
    let [now, branch, kept] = made("/today");
    let [later, branch_again, kept_again] = made("/today");
    assert_ne!(now, later);
    assert_eq!([&branch, &kept], [&branch_again, &kept_again]);
    let [_, other_branch, kept_still] = made("/today?branch=Station");
    assert_ne!(branch, other_branch, "each branch has a fragment of its own");
    assert_eq!(kept, kept_still, "all of them share this one");
}

#[test]
fn a_review_is_there_at_once_for_its_writer_and_for_everybody_else() {
    let visit = Visit::new();
    let (writer, reader) = (visit.visitor(), visit.visitor());
    for browser in [&writer, &reader] {
        visit.go(browser, "/books/12");
    }
    assert!(outcome(&reader).ends_with(" hit"), "{}", outcome(&reader));
    writer.write("[name=name]", "Ada");
    writer.write("[name=text]", "Better than <b>tea</b> & cake.");
    writer.click("main form button");
    writer.wait_for("the way back", Browser::url, |url| url.ends_with("/books/12#reviews"));
    reader.reload();
    for browser in [&writer, &reader] {
        let newest = browser.text(".reviews li");
        assert!(newest.contains("Better than <b>tea</b> & cake."), "{newest}");
    }
    assert!(
        outcome(&reader).ends_with(" hit"),
        "one visitor's page is made once: {}",
        outcome(&reader)
    );
}

#[test]
fn the_counts_of_the_caches_go_up_while_one_looks() {
    let visit = Visit::new();
    let browser = visit.visitor();
    visit.go(&browser, "/caches");
    browser.run("window.sameDocument = true");
    let hits = |browser: &Browser| number(&browser.text("[data-layer=site] [data-field=hits]"));
    assert_eq!(browser.wait_for("a number", hits, Option::is_some), Some(0));
    for _ in 0..3 {
        visit.site.get("/");
    }
    browser.wait_for("two hits", hits, |seen| *seen == Some(2));
    let newest = browser.text("#last tr");
    assert!(newest.contains("GET /") && newest.contains("site; hit"), "{newest}");
    let looked_up = browser.text("[data-alias=pages] [data-field=hits]");
    assert!(number(&looked_up).is_some_and(|count| count >= 2), "{looked_up}");
    assert_eq!(
        browser.run("return window.sameDocument"),
        Value::Bool(true),
        "without being loaded anew"
    );
}

#[test]
fn pages_can_be_purged_by_the_keyboard_alone() {
    let visit = Visit::new();
    let browser = visit.visitor();
    for outcome in ["stored", "hit"] {
        assert!(visit.site.get("/").cache_status().contains(outcome));
    }
    visit.go(&browser, "/caches");
    let focus =
        |browser: &Browser| browser.run("return document.activeElement.textContent").to_string();
    let reached = (0..20).any(|_| {
        browser.press(TAB);
        focus(&browser).contains("Purge the pages of site")
    });
    assert!(reached, "the focus is at {}", focus(&browser));
    let outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid", "one sees where the focus is");
    browser.press(ENTER);
    browser.wait_for(
        "word of it",
        |browser| browser.text("#said"),
        |said| said.contains("are purged"),
    );
    visit.go(&browser, "/");
    assert!(outcome(&browser).ends_with(" miss"), "{}", outcome(&browser));
}

#[test]
fn a_store_can_be_cleared() {
    let visit = Visit::new();
    let browser = visit.visitor();
    visit.go(&browser, "/account");
    browser.write("[name=name]", "Ada");
    browser.click("main button");
    browser.wait_for("a greeting", |browser| browser.text("h1"), |said| said == "Hello, Ada");
    visit.go(&browser, "/caches");
    let entries = |browser: &Browser| browser.text("[data-alias=sessions] [data-field=entries]");
    browser.wait_for("the session", entries, |entries| entries == "2");
    browser.click("[data-alias=sessions] button");
    browser.wait_for("an empty store", entries, |entries| entries == "0");
    visit.go(&browser, "/account");
    assert_eq!(browser.text("h1"), "Account");
}

const PAGES: [&str; 7] = ["/", "/books", "/books/7", "/today", "/account", "/about", "/caches"];

#[test]
fn no_page_has_a_word_for_the_console() {
    let visit = Visit::new();
    let browser = visit.visitor();
    for path in PAGES {
        visit.go(&browser, path);
        if path == "/caches" {
            browser.wait_for("numbers", |browser| browser.text("#live"), |said| said == "live");
        }
        assert_eq!(browser.console(), Vec::<String>::new(), "{path}");
    }
    // What is thrown is heard here: else the above would say nothing.
    browser.run("setTimeout(() => { throw new Error('heard') })");
    browser.wait_for(
        "an error",
        |browser| browser.console().join(""),
        |said| said.contains("heard"),
    );
}

#[test]
fn no_page_is_wider_than_a_phone() {
    let visit = Visit::new();
    let browser = visit.visitor();
    browser.resize(500, 900);
    for path in PAGES {
        visit.go(&browser, path);
        let wide =
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth";
        assert_eq!(browser.run(wide), 0, "{path}");
    }
}
