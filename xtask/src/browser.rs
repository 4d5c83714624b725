//! A real browser: headless Chromium, driven through ChromeDriver (W3C WebDriver).

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process::{Background, free_port, wait_until};

/// A browser with one window. Its profile is new and goes with it.
#[derive(Debug)]
pub struct Browser {
    session: String,
    _driver: Background,
    _profile: tempfile::TempDir,
}

/// The key under which WebDriver names an element (W3C WebDriver, section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Browser {
    /// Starts a browser that takes the site's self-signed certificate.
    ///
    /// # Errors
    /// When the driver or the browser does not start.
    pub fn start() -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let port = free_port()?;
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}"));
        let driver = Background::start("chromedriver", &mut command, &profile.path().join("driver.log"))?;
        let address = format!("http://127.0.0.1:{port}");
        wait_until("chromedriver", Duration::from_secs(20), || {
            Ok(call("GET", &format!("{address}/status"), &Value::Null)?["ready"].as_bool().filter(|ready| *ready))
        })?;
        let switches = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,900",
            &format!("--user-data-dir={}", profile.path().join("profile").display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": switches },
        }}});
        let opened = call("POST", &format!("{address}/session"), &wanted)?;
        let id = opened["sessionId"].as_str().with_context(|| format!("no session: {opened}"))?;
        Ok(Self { session: format!("{address}/session/{id}"), _driver: driver, _profile: profile })
    }

    /// Goes to an address.
    ///
    /// # Errors
    /// When the page does not load.
    pub fn open(&self, url: &str) -> Result<()> {
        self.post("url", &json!({ "url": url })).map(drop)
    }

    /// Types into the field that a CSS selector finds.
    ///
    /// # Errors
    /// When there is none.
    pub fn type_into(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.find(selector)?;
        self.post(&format!("element/{element}/value"), &json!({ "text": text })).map(drop)
    }

    /// Clicks what a CSS selector finds.
    ///
    /// # Errors
    /// When there is nothing.
    pub fn click(&self, selector: &str) -> Result<()> {
        let element = self.find(selector)?;
        self.post(&format!("element/{element}/click"), &json!({})).map(drop)
    }

    /// What a person can read on the page.
    ///
    /// # Errors
    /// When the page is gone.
    pub fn text(&self) -> Result<String> {
        let body = self.find("body")?;
        let text = call("GET", &format!("{}/element/{body}/text", self.session), &Value::Null)?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Runs a script in the page, with `arguments`, and gives what it returns.
    ///
    /// # Errors
    /// When it throws.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        self.post("execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// Takes a picture.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn picture(&self, path: &Path) -> Result<()> {
        let png = call("GET", &format!("{}/screenshot", self.session), &Value::Null)?;
        let mut decode =
            Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(std::fs::File::create(path)?).spawn()?;
        let mut input = decode.stdin.take().context("no pipe")?;
        std::io::Write::write_all(&mut input, png.as_str().unwrap_or_default().as_bytes())?;
        drop(input);
        decode.wait()?;
        Ok(())
    }

    fn find(&self, selector: &str) -> Result<String> {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector }))?;
        Ok(found[ELEMENT].as_str().with_context(|| format!("{selector}: {found}"))?.to_owned())
    }

    fn post(&self, what: &str, body: &Value) -> Result<Value> {
        call("POST", &format!("{}/{what}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver is ended next, and the browser with it, also if this fails.
        let _ = call("DELETE", &self.session, &Value::Null);
    }
}

fn call(method: &str, url: &str, body: &Value) -> Result<Value> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "30", "-X", method, url]);
    if !body.is_null() {
        curl.args(["-H", "content-type: application/json", "--data-binary", &body.to_string()]);
    }
    let answer: Value = serde_json::from_str(&crate::process::must(&mut curl)?)?;
    if let Some(error) = answer["value"]["error"].as_str() {
        bail!("{method} {url}: {error}: {}", answer["value"]["message"].as_str().unwrap_or_default());
    }
    Ok(answer["value"].clone())
}
