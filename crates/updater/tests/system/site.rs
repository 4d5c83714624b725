//! A site's server as a device sees it, over real TLS: it answers whatever the test wants, as one would that somebody has
//! taken over. And the real service that talks to it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lockstep_updater::{layout::Layout, platform};
use protocol::{
    Decision, Directive, Timestamp,
    catalog::Catalog,
    device::Device,
    directive,
    message::{DeviceCheckIn, DeviceDirectives, Downloads, KEEP_ALIVE_SECONDS},
    policy::UpgradePolicy,
    product::ProductId,
    site::{Site as Choices, SiteProduct},
};
use serde_json::{Value, json};

use crate::vendor::{Release, UPDATER, Vendor};

/// What the server does.
#[derive(Default)]
pub struct World {
    /// What it serves below `/tuf/metadata/`.
    pub metadata: BTreeMap<String, Vec<u8>>,
    /// What it serves below `/tuf/targets/`.
    pub targets: BTreeMap<String, Vec<u8>>,
    /// What it decides by, while it is honest.
    pub choices: Choices,
    pub catalog: Catalog,
    /// What it orders instead, about the connector.
    pub orders: Option<Decision>,
    /// Its words for that.
    pub why: String,
    /// Versions of the updater that it answers with what is no answer.
    pub garbles: Option<String>,
    /// Whether it closes every connection at once.
    pub is_down: Option<Box<dyn Fn() -> bool + Send>>,
    /// Where it sends everybody instead of answering.
    pub redirect: Option<String>,
    /// Requests that reached it.
    pub reached: usize,
    /// What it says about fetching packages.
    pub downloads: Downloads,
    /// Whether it has a push stream; it never says anything on it.
    pub pushes: bool,
    /// Push streams that were opened.
    pub streams: usize,
    /// Bytes of each check-in.
    pub bodies: Vec<usize>,
    /// Requests below `/tuf/targets/`.
    pub asked: usize,
    /// What it was told.
    pub reports: Vec<Device>,
}

pub struct Site {
    pub world: Arc<Mutex<World>>,
    pub address: String,
    pub certificate: String,
}

impl Site {
    pub fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let world = Arc::new(Mutex::new(World::default()));
        let shared = world.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, world) = (config.clone(), shared.clone());
                // A connection that breaks off is the client's affair.
                std::thread::spawn(move || drop(serve(stream, config, &world)));
            }
        });
        Self { world, address, certificate: made.cert.pem() }
    }

    /// It serves what the vendor signed, and decides as `lockstep-server` does.
    pub fn honest(&self, vendor: &Vendor, server: &str) {
        let mut world = self.world.lock().unwrap();
        world.metadata = vendor.metadata();
        world.targets = vendor.releases.iter().map(|r| (r.path(), r.package.clone())).collect();
        world.catalog = vendor.catalog();
        let connector = SiteProduct {
            server: Some(server.parse().unwrap()),
            policy: UpgradePolicy::Silent,
            ..SiteProduct::default()
        };
        world.choices.products.insert(ProductId::connector(), connector);
        world.orders = None;
    }

    /// It orders a version, whatever is right.
    pub fn orders(&self, version: &str) {
        let decision = Decision::Required { version: version.parse().unwrap(), deadline: Timestamp::now() };
        self.world.lock().unwrap().orders = Some(decision);
    }

    /// The last report.
    pub fn last_report(&self) -> Option<Device> {
        self.world.lock().unwrap().reports.last().cloned()
    }

    /// Whether the last report says this about the connector.
    pub fn was_told(&self, words: &str) -> bool {
        let world = self.world.lock().unwrap();
        let detail = world.reports.last().and_then(|d| d.product(&ProductId::connector()).detail);
        detail.is_some_and(|detail| detail.contains(words))
    }

    /// The real service on a PC that has these releases, and belongs to this site.
    pub fn pc(&self, root: &Path, vendor: &Vendor, installed: &[&Release]) -> Service {
        self.installs(root, vendor, installed);
        Service::start(root, Path::new(UPDATER))
    }

    /// A PC of this site gets these releases from an installer.
    pub fn installs(&self, root: &Path, vendor: &Vendor, installed: &[&Release]) {
        self.installs_with(Path::new(UPDATER), root, vendor, installed);
    }

    /// The same with this program in the folder.
    pub fn installs_with(&self, program: &Path, root: &Path, vendor: &Vendor, installed: &[&Release]) {
        let folder = root.with_extension("folder");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        vendor.folder(&folder, installed, None);
        fs::copy(program, folder.join("bin/lockstep-updater")).unwrap();
        let profile = json!({ "v": 1, "server": self.address, "enrolment_key": "k", "certificate": self.certificate });
        fs::write(folder.join("site.json"), profile.to_string()).unwrap();
        let output = crate::install::install(&folder, root);
        assert!(crate::install::succeeded(&output));
    }
}

/// A running service.
pub struct Service {
    pub layout: Layout,
    pub process: Child,
    checks: std::cell::Cell<u32>,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; then the test has failed already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Service {
    pub fn start(root: &Path, program: &Path) -> Self {
        Self::with(root, Command::new(program).args(["run", "--root"]).arg(root))
    }

    /// Whatever starts the service for this root.
    pub fn with(root: &Path, command: &mut Command) -> Self {
        let log = fs::File::options().append(true).create(true).open(root.with_extension("log")).unwrap();
        // A service that asked its environment would reach nobody.
        for proxy in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"] {
            command.env(proxy, "http://127.0.0.1:9");
        }
        let process = command.stderr(log).stdin(Stdio::null()).spawn().unwrap();
        let service = Self { layout: Layout::new(root).unwrap(), process, checks: 0.into() };
        service.until("it answers", |_| true);
        service
    }

    /// `lockstep-updater status --json`; nothing while it does not answer.
    pub fn status(&self) -> Option<Value> {
        let mut command = Command::new(UPDATER);
        let output = command.args(["status", "--json", "--root"]).arg(self.layout.root()).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// A user types `lockstep-updater check`; each time another one, since nobody may do it often.
    pub fn check(&self) {
        let uid = 60001 + self.checks.get();
        self.checks.set(self.checks.get() + 1);
        let output = Command::new("setpriv")
            .args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()])
            .arg(self.layout.root().with_extension("folder").join("bin/lockstep-updater"))
            .args(["check", "--wait", "1", "--root"])
            .arg(self.layout.root())
            .output()
            .unwrap();
        // Asking is what is wanted; what comes of it in this second, good or bad, is for the tests to look at.
        assert!(output.status.code().is_some_and(|code| code <= 1), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until the status is so, at most a minute.
    pub fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        self.wait(what, || self.status().is_some_and(|status| is_so(&status)));
    }

    /// Waits until something is so, at most a minute.
    pub fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            let log = fs::read_to_string(self.layout.root().with_extension("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(60), "not so: {what}\n{:?}\n{log}", self.status());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The connector's active version.
    pub fn connector(&self) -> String {
        self.active("connector")
    }

    /// A product's active version.
    pub fn active(&self, product: &str) -> String {
        let link = fs::read_link(self.layout.current(&product.parse().unwrap())).unwrap();
        link.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// The connector's versions on the disk.
    pub fn versions(&self) -> Vec<String> {
        let dir = fs::read_dir(self.layout.versions(&ProductId::connector())).unwrap();
        let mut names: Vec<_> = dir.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn serve(stream: TcpStream, config: Arc<rustls::ServerConfig>, world: &Mutex<World>) -> std::io::Result<()> {
    if world.lock().unwrap().is_down.as_ref().is_some_and(|is_down| is_down()) {
        return Ok(());
    }
    let session = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(rustls::StreamOwned::new(session, stream));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        if stream.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    if path == "/v1/push/device" && world.lock().unwrap().pushes {
        world.lock().unwrap().streams += 1;
        return push(stream.get_mut());
    }
    let (status, answer, location) = {
        let mut world = world.lock().unwrap();
        world.reached += 1;
        match world.redirect.clone() {
            Some(elsewhere) => ("302 Found", vec![], format!("location: {elsewhere}{path}\r\n")),
            None => {
                let (status, answer) = answer(&path, &body, &mut world);
                (status, answer, String::new())
            }
        }
    };
    let length = answer.len();
    let head = format!("HTTP/1.1 {status}\r\n{location}content-length: {length}\r\nconnection: close\r\n\r\n");
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// As `lockstep-server` does while there is nothing to say.
fn push(stream: &mut impl Write) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")?;
    loop {
        stream.flush()?;
        std::thread::sleep(Duration::from_secs(KEEP_ALIVE_SECONDS));
        stream.write_all(b": still here\n\n")?;
    }
}

fn answer(path: &str, body: &[u8], world: &mut World) -> (&'static str, Vec<u8>) {
    let found = |file: Option<&Vec<u8>>| match file {
        Some(bytes) => ("200 OK", bytes.clone()),
        None => ("404 Not Found", vec![]),
    };
    if let Some(name) = path.strip_prefix("/tuf/metadata/") {
        return found(world.metadata.get(name));
    }
    if let Some(name) = path.strip_prefix("/tuf/targets/") {
        world.asked += 1;
        return found(world.targets.get(name));
    }
    match path {
        "/v1/enrol" => ("200 OK", json!({ "v": 1, "device": "d-1" }).to_string().into_bytes()),
        "/v1/check-in/device" => {
            world.bodies.push(body.len());
            let told: DeviceCheckIn = serde_json::from_slice(body).unwrap();
            if told.device.updater.as_ref().is_some_and(|version| Some(version.to_string()) == world.garbles) {
                return ("200 OK", b"what only the next version understands".to_vec());
            }
            let answer = decide(world, &told.device);
            world.reports.push(told.device);
            ("200 OK", serde_json::to_vec(&answer).unwrap())
        }
        _ => ("404 Not Found", vec![]),
    }
}

fn decide(world: &World, device: &Device) -> DeviceDirectives {
    let site = world.choices.clone().with_updater();
    let honest = |product| directive(product, &site, &world.catalog, device, Timestamp::now(), 1);
    let product = ProductId::connector();
    let about_connector = match &world.orders {
        Some(decision) => Directive {
            product: product.clone(),
            decision: decision.clone(),
            policy: UpgradePolicy::Silent,
            terms: Default::default(),
            server: None,
            why: format!("because I say so{}", world.why),
        },
        None => honest(&product),
    };
    let others = site.products.keys().filter(|p| **p != product).map(honest);
    let directives = others.chain([about_connector]).collect();
    DeviceDirectives { v: 1, directives, next_check_in_seconds: 3600, downloads: world.downloads.clone() }
}

/// A directory that every user may pass, for the PCs of one test.
pub fn place() -> tempfile::TempDir {
    crate::fixture::needs_root();
    let dir = tempfile::Builder::new().prefix("site-").tempdir_in("/tmp").unwrap();
    platform::set_mode(dir.path(), 0o755).unwrap();
    dir
}
