//! A stand-in for the site's server: it speaks [`protocol::message`] over TLS and decides what the test says. The
//! real one is a program of its own, and takes part in the whole-system tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use protocol::{
    Decision, Directive,
    message::{ConnectorCheckIn, ConnectorDirective, Failure, LoggedIn, Login, MailServer, Push},
    policy::UpgradePolicy,
    product::ProductId,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

/// The password that every account has here.
pub const TOKEN: &str = "token-of-the-test";

/// What the stand-in knows and decides.
pub struct Site {
    pub url: String,
    certificate: PathBuf,
    dir: tempfile::TempDir,
    mail: MailServer,
    password: String,
    decision: Mutex<Decision>,
    policy: Mutex<UpgradePolicy>,
    ask_again_seconds: Mutex<Option<u64>>,
    /// What it mirrors of a vendor: a directory with `metadata` and `targets`.
    repository: Mutex<Option<PathBuf>>,
    /// Every check-in so far.
    pub seen: Mutex<Vec<ConnectorCheckIn>>,
    pushed: watch::Sender<u64>,
}

impl Site {
    /// Starts it; it knows one password and where the mail is.
    pub async fn start(mail: MailServer, password: &str) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let (key, certificate) = (dir.path().join("key.pem"), dir.path().join("cert.pem"));
        // A certificate that calls itself an authority, as `openssl req -x509` makes them.
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
            .args(["-subj", "/CN=localhost", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(&certificate).unwrap()],
                PrivateKeyDer::from_pem_file(&key).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Arc::new(Self {
            url: format!("https://localhost:{}", listener.local_addr().unwrap().port()),
            certificate,
            dir,
            mail,
            password: password.into(),
            decision: Mutex::new(Decision::Current),
            policy: Mutex::default(),
            ask_again_seconds: Mutex::default(),
            repository: Mutex::default(),
            seen: Mutex::default(),
            pushed: watch::Sender::new(0),
        });
        let serving = site.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (site, acceptor) = (serving.clone(), acceptor.clone());
                tokio::spawn(async move { site.serve(stream, acceptor).await });
            }
        });
        site
    }

    /// The site profile.
    pub fn profile(&self) -> String {
        let certificate = std::fs::read_to_string(&self.certificate).unwrap();
        serde_json::json!({"v": 1, "server": self.url, "certificate": certificate, "enrolment_key": "k"}).to_string()
    }

    /// Mirrors this directory from now on.
    pub fn mirror(&self, repository: &Path) {
        *self.repository.lock().unwrap() = Some(repository.to_owned());
    }

    /// Has another policy from now on, and says how long a refused prompt counts.
    pub fn policy(&self, policy: UpgradePolicy, ask_again_seconds: Option<u64>) {
        *self.policy.lock().unwrap() = policy;
        *self.ask_again_seconds.lock().unwrap() = ask_again_seconds;
    }

    /// Writes the site profile under a PC's root.
    pub fn install(&self, root: &Path) {
        std::fs::create_dir_all(root.join("etc/lockstep")).unwrap();
        std::fs::write(root.join("etc/lockstep/site.json"), self.profile()).unwrap();
        std::fs::write(root.join("etc/hostname"), "pc-test\n").unwrap();
        assert!(self.dir.path().exists());
    }

    /// Decides otherwise from now on, and pushes.
    pub fn decide(&self, decision: Decision) {
        *self.decision.lock().unwrap() = decision;
        self.pushed.send_modify(|n| *n += 1);
    }

    async fn serve(&self, stream: TcpStream, acceptor: TlsAcceptor) {
        // A client that gives up is the test's affair.
        let Ok(mut stream) = acceptor.accept(stream).await else { return };
        let mut request = Vec::new();
        let (head, body) = loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|l| {
                    l.to_ascii_lowercase().strip_prefix("content-length: ").map(|n| n.parse::<usize>().unwrap())
                });
                if body.len() >= length.unwrap_or(0) {
                    break (head.to_owned(), body.to_owned());
                }
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
                _ => return,
            }
        };
        let authorized = head.to_ascii_lowercase().contains(&format!("authorization: bearer {TOKEN}"));
        let answer = match head.lines().next().unwrap() {
            "POST /v1/login HTTP/1.1" => self.login(&serde_json::from_str(&body).unwrap()),
            "POST /v1/check-in/connector HTTP/1.1" if authorized => self.check_in(serde_json::from_str(&body).unwrap()),
            "GET /v1/push/connector HTTP/1.1" if authorized => {
                let mut pushed = self.pushed.subscribe();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hello\n\n";
                let mut alive = stream.write_all(head.as_bytes()).await.is_ok();
                while alive && pushed.changed().await.is_ok() {
                    let push = serde_json::to_string(&Push { v: 1, why: "the test says so".into() }).unwrap();
                    alive = stream.write_all(format!("data: {push}\n\n").as_bytes()).await.is_ok();
                    alive &= stream.flush().await.is_ok();
                }
                return;
            }
            line if line.starts_with("GET /tuf/") => {
                let path = line.split_whitespace().nth(1).unwrap().trim_start_matches("/tuf/").to_owned();
                let repository = self.repository.lock().unwrap().clone();
                match repository.map(|repository| std::fs::read(repository.join(path))) {
                    Some(Ok(bytes)) => {
                        let head =
                            format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len());
                        // As below.
                        let _ = stream.write_all(&[head.as_bytes(), &bytes].concat()).await;
                        let _ = stream.shutdown().await;
                        return;
                    }
                    _ => failure(404, "no such file"),
                }
            }
            _ => failure(401, "no"),
        };
        // As above.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn login(&self, login: &Login) -> String {
        if login.password != self.password {
            return failure(403, "the mail server does not know this password");
        }
        success(&LoggedIn { v: 1, token: TOKEN.into(), mail: self.mail.clone() })
    }

    fn check_in(&self, check_in: ConnectorCheckIn) -> String {
        self.seen.lock().unwrap().push(check_in);
        success(&ConnectorDirective {
            v: 1,
            directive: Directive {
                product: ProductId::connector(),
                decision: self.decision.lock().unwrap().clone(),
                policy: *self.policy.lock().unwrap(),
                terms: Default::default(),
                server: Some("7.3.0".parse().unwrap()),
                why: "the test says so".into(),
            },
            mail: self.mail.clone(),
            integration_page: format!("{}/integration", self.url),
            next_check_in_seconds: 300,
            ask_again_seconds: *self.ask_again_seconds.lock().unwrap(),
        })
    }
}

fn success(body: &impl serde::Serialize) -> String {
    http(200, &serde_json::to_string(body).unwrap())
}

fn failure(status: u16, error: &str) -> String {
    http(status, &serde_json::to_string(&Failure { error: error.into() }).unwrap())
}

fn http(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
