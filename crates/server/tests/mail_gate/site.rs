//! The server program, run as an administrator runs it, with connector 7.2.0, 7.2.5 (which works with 7.3 too) and 7.3.0 mirrored.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use mail_rig::{MailRig, Setup, process::free_ports};

use crate::{
    client::{ALICE, BOB, PASSWORD, Refused, Session, login},
    vendor::Vendor,
};

pub struct Site {
    mail: MailRig,
    pub gate: u16,
    pub secret: String,
    dir: tempfile::TempDir,
    base: String,
    client: Client,
    token: String,
    child: Child,
}

/// A user on a PC.
pub struct Seat {
    token: String,
}

impl Site {
    /// With a server that has version 7.2.0, and a mail server that asks it.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// As [`Site::start`], with `end_sessions`, where `KICK` stands for `doveadm kick`.
    pub async fn with(end_sessions: &str) -> Self {
        lockstep_server::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let vendor = Vendor::new(&dir.path().join("vendor"));
        vendor.publish(
            1,
            &[
                ("connector", "7.2.0", ">=7.2, <7.3"),
                ("connector", "7.2.5", ">=7.2, <7.4"),
                ("connector", "7.3.0", ">=7.3, <7.4"),
                ("updater", "0.1.0", "*"),
            ],
        );
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let accounts = [ALICE, BOB].map(|user| (user.to_owned(), PASSWORD.to_owned()));
        let setup = Setup { version: "7.2.0".into(), accounts: accounts.to_vec(), ..Setup::default() };
        let mail = MailRig::with(&dir.path().join("mail"), setup).unwrap();
        let [gate, port] = free_ports().unwrap();
        let data = dir.path().join("data");
        let base = format!("https://localhost:{port}");
        let flags = [
            format!("--listen=127.0.0.1:{port}"),
            format!("--url={base}"),
            format!("--vendor={}", vendor.repository().display()),
            format!("--vendor-root={}", vendor.root().display()),
            format!("--imap=127.0.0.1:{}", mail.imaps),
            "--submission=localhost:587".into(),
            format!("--mail-ca={}", mail.certificate().display()),
            "--webmail=https://webmail.example.test".into(),
            format!("--mail-gate=127.0.0.1:{gate}"),
        ];
        let mut child = spawn(&data, &flags);
        let mut this = if end_sessions.is_empty() {
            ready(&mut child);
            Self::at(mail, gate, dir, base, child)
        } else {
            // The first start writes the configuration, the administrator adds to it.
            ready(&mut child);
            stop(&mut child);
            let file = data.join("server.toml");
            let end_sessions = end_sessions.replace("KICK", &kick(&mail));
            let text = fs::read_to_string(&file).unwrap();
            let commented = text.lines().find(|line| line.starts_with("# end_sessions")).unwrap().to_owned();
            fs::write(&file, text.replace(&commented, &format!("end_sessions = {end_sessions}"))).unwrap();
            let mut child = spawn(&data, &[]);
            ready(&mut child);
            Self::at(mail, gate, dir, base, child)
        };
        this.admin(Method::POST, "/v1/admin/refresh", None).await;
        this.server_runs("7.2.0").await;
        let told = this.admin(Method::GET, "/v1/admin/mail-gate", None).await;
        let lines = told["dovecot"].as_str().unwrap();
        this.secret = lines.split("Bearer ").nth(1).unwrap().lines().next().unwrap().to_owned();
        this.mail.reconfigure(|setup| setup.dovecot = lines.to_owned()).unwrap();
        this
    }

    fn at(mail: MailRig, gate: u16, dir: tempfile::TempDir, base: String, child: Child) -> Self {
        let file = fs::read(dir.path().join("data/admin.json")).unwrap();
        let admin: Value = serde_json::from_slice(&file).unwrap();
        let pin = reqwest::Certificate::from_pem(admin["certificate"].as_str().unwrap().as_bytes()).unwrap();
        let client = Client::builder().tls_certs_only([pin]).build().unwrap();
        let token = admin["token"].as_str().unwrap().to_owned();
        Self { mail, gate, secret: String::new(), dir, base, client, token, child }
    }

    /// The administrator's program asks; it must succeed.
    pub async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path}: {text}\n{}", self.log());
        serde_json::from_str(&text).unwrap()
    }

    /// A mail program connects, says who it is, and logs in.
    pub async fn login(&self, user: &str, password: &str, id: Option<&str>) -> Result<Session, Refused> {
        login(&self.mail, user, password, id).await
    }

    pub async fn server_runs(&self, version: &str) {
        let body = json!({"product": "connector", "version": version});
        self.admin(Method::POST, "/v1/admin/server-version", Some(body)).await;
    }

    pub async fn status(&self) -> Value {
        self.admin(Method::GET, "/v1/admin/status", None).await
    }

    /// A connector logs in to lockstep-server with its user's mail password.
    pub async fn seat(&self, user: &str) -> Seat {
        let body = json!({
            "v": 1, "user": user, "password": PASSWORD, "seat": format!("seat-{:032x}", rand::random::<u128>()),
            "hostname": "pc", "os": "linux", "arch": "x86_64",
        });
        let response = self.client.post(format!("{}/v1/login", self.base)).json(&body).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{text}\n{}", self.log());
        let answer: Value = serde_json::from_str(&text).unwrap();
        Seat { token: answer["token"].as_str().unwrap().into() }
    }

    /// It checks in.
    pub async fn check_in(&self, seat: &Seat, version: &str, gate: &str) {
        let body = json!({
            "v": 1, "product": "connector", "version": version, "gate": gate, "hostname": "pc", "os": "linux",
            "arch": "x86_64",
        });
        let url = format!("{}/v1/check-in/connector", self.base);
        let response = self.client.post(url).bearer_auth(&seat.token).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }

    /// As the mail server asks.
    pub async fn ask(&self, command: &str, secret: &str, body: String) -> reqwest::Result<reqwest::Response> {
        let url = format!("http://127.0.0.1:{}/?command={command}", self.gate);
        Client::new().post(url).bearer_auth(secret).body(body).send().await
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(log_of(&self.dir.path().join("data"))).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `doveadm kick` for this very Dovecot, as `end_sessions` has it.
fn kick(mail: &MailRig) -> String {
    let mut argv = mail.doveadm_command();
    argv.extend(["kick", "{user}", "{address}"].map(ToOwned::to_owned));
    serde_json::to_string(&argv).unwrap()
}

fn log_of(data: &std::path::Path) -> PathBuf {
    data.with_extension("log")
}

fn spawn(data: &std::path::Path, flags: &[String]) -> Child {
    let log = fs::File::options().create(true).append(true).open(log_of(data)).unwrap();
    Command::new(env!("CARGO_BIN_EXE_lockstep-server"))
        .arg("run")
        .arg("--data")
        .arg(data)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn ready(child: &mut Child) {
    let out = child.stdout.take().unwrap();
    let mut lines = BufReader::new(out).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("lockstep-server ready")), "it does not start");
    // Nobody reads on; there is nothing more to read.
    std::mem::forget(lines);
}

fn stop(child: &mut Child) {
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(30), "it does not stop");
        std::thread::sleep(Duration::from_millis(20));
    }
}
