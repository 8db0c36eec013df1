//! A browser, controlled by W3C WebDriver: JSON over HTTP.
//!
//! The few requests are written by hand. The crates for WebDriver have a hundred dependencies, or a
//! license that this workspace does not allow.

use std::{
    fmt::Debug,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use xtask::servers::ChromeDriver;

use crate::site::http;

/// The time limit of waiting for a condition.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A browser with its own profile. Dropping it closes the browser.
pub(crate) struct Browser {
    driver: String,
    session: String,
}

/// The codes of special keys.
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
        let response = call(&driver, "POST", "/session", &capabilities);
        let session = response["sessionId"].as_str().expect("a session ID").to_owned();
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

    /// The text of the first element that matches, or an empty string.
    pub(crate) fn text(&self, selector: &str) -> String {
        // One script: between two calls, another page may load.
        let script = "return document.querySelector(arguments[0])?.innerText.trim() ?? ''";
        text(&self.run_with(script, &[selector]))
    }

    pub(crate) fn click(&self, selector: &str) {
        self.call("POST", &format!("/element/{}/click", self.find(selector)), &json!({}));
    }

    pub(crate) fn write(&self, selector: &str, text: &str) {
        self.call(
            "POST",
            &format!("/element/{}/value", self.find(selector)),
            &json!({ "text": text }),
        );
    }

    /// Presses a key in the focused element.
    pub(crate) fn press(&self, key: &str) {
        let press = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.call(
            "POST",
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": press }] }),
        );
    }

    /// Runs a script and returns its result.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.run_with(script, &[])
    }

    fn run_with(&self, script: &str, arguments: &[&str]) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    pub(crate) fn resize(&self, width: u16, height: u16) {
        self.call("POST", "/window/rect", &json!({ "width": width, "height": height }));
    }

    /// Shows pages as a phone of this width does, with a light or a dark color scheme.
    pub(crate) fn emulate(&self, width: u16, color_scheme: &str) {
        let size = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": true });
        let scheme = json!({ "name": "prefers-color-scheme", "value": color_scheme });
        for (command, parameters) in [
            ("Emulation.setDeviceMetricsOverride", size),
            ("Emulation.setEmulatedMedia", json!({ "features": [scheme] })),
        ] {
            self.call(
                "POST",
                "/goog/cdp/execute",
                &json!({ "cmd": command, "params": parameters }),
            );
        }
    }

    /// The console messages since the last call.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.call("POST", "/se/log", &json!({ "type": "browser" }));
        entries.as_array().into_iter().flatten().map(ToString::to_string).collect()
    }

    /// Calls `look` until `condition` holds for its result, and returns the result.
    pub(crate) fn wait_for<T: Debug>(
        &self,
        what: &str,
        look: impl Fn(&Self) -> T,
        condition: impl Fn(&T) -> bool,
    ) -> T {
        let start = Instant::now();
        loop {
            let seen = look(self);
            if condition(&seen) {
                return seen;
            }
            assert!(start.elapsed() < TIMEOUT, "timed out waiting for {what}: {seen:?}");
            sleep(Duration::from_millis(20));
        }
    }

    fn find(&self, selector: &str) -> String {
        let found =
            self.call("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let reference =
            found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        reference.expect("an element reference").to_owned()
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        call(&self.driver, method, &format!("/session/{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // An error here would hide the failure of the test.
        let _ =
            http::try_send(&self.driver, "DELETE", &format!("/session/{}", self.session), &[], "");
    }
}

fn call(driver: &str, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let response = http::send(driver, method, path, &[("content-type", "application/json")], &body);
    let mut json: Value = serde_json::from_str(&response.body).expect("valid JSON");
    assert_eq!(response.status, 200, "{method} {path} {body}: {}", json["value"]["message"]);
    json["value"].take()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
