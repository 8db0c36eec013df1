//! A browser, by W3C's WebDriver: JSON over HTTP. The crates for that bring in a hundred others, or a licence that this
//! workspace does not allow, for the dozen requests that are needed here.

use std::{
    fmt::Debug,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use xtask::servers::ChromeDriver;

use crate::site::http;

/// How long the page may take to become what is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A browser with a profile of its own, which ends when it is dropped.
pub(crate) struct Browser {
    driver: String,
    session: String,
}

/// Keys that have no letter.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";

impl Browser {
    pub(crate) fn start(driver: &ChromeDriver) -> Self {
        let driver = format!("127.0.0.1:{}", driver.port());
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": ChromeDriver::arguments() },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let answer = call(&driver, "POST", "/session", &capabilities);
        let session = answer["sessionId"].as_str().expect("a session has a name").to_owned();
        Self { driver, session }
    }

    pub(crate) fn go(&self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    pub(crate) fn reload(&self) {
        self.call("POST", "/refresh", &json!({}));
    }

    pub(crate) fn url(&self) -> String {
        text(&self.call("GET", "/url", &Value::Null))
    }

    /// What the page shows at the first element that fits; nothing where there is none.
    pub(crate) fn text(&self, selector: &str) -> String {
        // In one step: between two, the page may be replaced by the next.
        let shown = "return document.querySelector(arguments[0])?.innerText.trim() ?? ''";
        text(&self.run_with(shown, &[selector]))
    }

    pub(crate) fn click(&self, selector: &str) {
        self.call("POST", &format!("/element/{}/click", self.find(selector)), &json!({}));
    }

    pub(crate) fn write(&self, selector: &str, what: &str) {
        self.call(
            "POST",
            &format!("/element/{}/value", self.find(selector)),
            &json!({ "text": what }),
        );
    }

    /// Presses a key, wherever the focus is.
    pub(crate) fn press(&self, key: &str) {
        let press = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.call(
            "POST",
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": press }] }),
        );
    }

    /// What a script returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.run_with(script, &[])
    }

    fn run_with(&self, script: &str, arguments: &[&str]) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    pub(crate) fn resize(&self, width: u16, height: u16) {
        self.call("POST", "/window/rect", &json!({ "width": width, "height": height }));
    }

    /// What the console was told since this was asked last.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.call("POST", "/se/log", &json!({ "type": "browser" }));
        entries.as_array().into_iter().flatten().map(ToString::to_string).collect()
    }

    /// Waits until what `look` sees is what is wanted, and answers it.
    pub(crate) fn wait_for<T: Debug>(
        &self,
        what: &str,
        look: impl Fn(&Self) -> T,
        wanted: impl Fn(&T) -> bool,
    ) -> T {
        let start = Instant::now();
        loop {
            let seen = look(self);
            if wanted(&seen) {
                return seen;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {what}, and saw {seen:?}");
            sleep(Duration::from_millis(20));
        }
    }

    fn find(&self, selector: &str) -> String {
        let found =
            self.call("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let reference =
            found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        reference.expect("an element has a reference").to_owned()
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        call(&self.driver, method, &format!("/session/{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A test that failed must not fail twice.
        let _ = http::try_to_ask(
            &self.driver,
            "DELETE",
            &format!("/session/{}", self.session),
            &[],
            "",
        );
    }
}

fn call(driver: &str, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = http::ask(driver, method, path, &[("content-type", "application/json")], &body);
    let mut said: Value = serde_json::from_str(&answer.body).expect("the driver answers JSON");
    assert_eq!(answer.status, 200, "{method} {path} {body}: {}", said["value"]["message"]);
    said["value"].take()
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}
