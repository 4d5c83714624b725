//! Several places, of which some behave badly: over real connections, with the settings of a real file.

use std::{
    fs,
    io::Read,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use lockstep_updater::{
    download::{Downloads, FetchError, Limits, Wanted, partial_name},
    settings,
};
use protocol::site::SiteProfile;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::download::{LIMITS, Manner, Source, answer, content, kept, reqwest_client, source};

/// A PC with these lines in the section `[download]` of its settings.
struct Pc {
    dir: tempfile::TempDir,
    downloads: Downloads,
}

impl Pc {
    fn new(lines: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), lines, LIMITS)
    }

    fn within(dir: tempfile::TempDir, lines: &str, limits: Limits) -> Self {
        let settings = settings::parse(format!("[download]\n{lines}").as_bytes()).unwrap();
        let profile = r#"{"v":1,"server":"https://mail.example.test","enrolment_key":"k"}"#;
        let profile: SiteProfile = serde_json::from_str(profile).unwrap();
        fs::create_dir_all(dir.path().join("downloads")).unwrap();
        let (to, products) = (dir.path().join("downloads"), dir.path().join("opt"));
        let downloads = Downloads::new(to, products, &settings.download, &profile).with_limits(limits);
        Self { dir, downloads }
    }

    /// A PC that looks in these places first.
    fn looking_in(places: &[&Source]) -> Self {
        Self::new(&sources(places))
    }

    fn dir(&self) -> std::path::PathBuf {
        self.dir.path().join("downloads")
    }

    async fn fetch(&self, mirror: &Source) -> Result<Vec<u8>, FetchError> {
        self.fetch_telling(mirror, &|_| {}).await
    }

    async fn fetch_telling(&self, mirror: &Source, tell: &(dyn Fn(u64) + Send + Sync)) -> Result<Vec<u8>, FetchError> {
        let all = content();
        let sha256 = hex::encode(Sha256::digest(&all));
        let wanted = Wanted { length: all.len() as u64, sha256: &sha256 };
        let mirror = (&reqwest_client(), mirror.url.parse().unwrap());
        let mut file = self.downloads.fetch("connector/package.lpk", mirror, wanted, tell).await?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        Ok(bytes)
    }

    fn forget(&self) {
        fs::remove_file(self.dir().join(partial_name(&hex::encode(Sha256::digest(content()))))).unwrap();
    }
}

fn sources(places: &[&Source]) -> String {
    let urls: Vec<_> = places.iter().map(|p| format!("\"{}\"", p.url)).collect();
    format!("sources = [{}]\n", urls.join(", "))
}

#[tokio::test]
async fn the_next_place_goes_on_where_one_that_failed_has_ended_and_is_asked_first_from_then_on() {
    let [stalls, breaks, good, mirror] =
        [Manner::Stalls(50_000), Manner::Breaks(150_000), Manner::Good, Manner::Good].map(source);
    let (stalls, breaks, good, mirror) = (stalls.await, breaks.await, good.await, mirror.await);
    let pc = Pc::looking_in(&[&stalls, &breaks, &good]);
    assert_eq!(pc.fetch(&mirror).await.unwrap(), content());
    assert_eq!((stalls.sent(), breaks.sent(), good.sent(), mirror.asked()), (50_000, 150_000, 100_000, 0));
    assert_eq!(pc.fetch(&mirror).await.unwrap(), content());
    assert_eq!(
        (stalls.asked(), breaks.asked(), good.asked(), mirror.asked()),
        (1, 1, 1, 0),
        "nothing is fetched twice"
    );
    pc.forget();
    assert_eq!(pc.fetch(&mirror).await.unwrap(), content());
    assert_eq!((stalls.asked(), breaks.asked(), good.asked()), (1, 1, 2), "what failed is asked last");
}

#[tokio::test]
async fn places_that_have_nothing_send_other_bytes_or_send_on_end_at_the_sites_own_mirror() {
    let manners = [
        Manner::NotFound,
        Manner::OtherBytes,
        Manner::TurnsBad(200_000),
        Manner::Endless,
        Manner::Redirects,
        Manner::RedirectsToFile,
        Manner::Sends(10),
    ];
    let mut places = Vec::new();
    for manner in manners {
        places.push(source(manner).await);
    }
    let mirror = source(Manner::Good).await;
    let pc = Pc::looking_in(&places.iter().collect::<Vec<_>>());
    assert_eq!(pc.fetch(&mirror).await.unwrap(), content());
    assert_eq!(mirror.asked(), 1);
    assert!(
        places.iter().all(|place| place.asked() == 1),
        "none is asked twice, and no redirect to plain HTTP is followed"
    );
}

#[tokio::test]
async fn without_any_tls_at_all_nothing_unsigned_comes_in_and_each_place_is_named() {
    let (bad, worse) = (source(Manner::OtherBytes).await, source(Manner::TurnsBad(10)).await);
    let mirror = source(Manner::OtherBytes).await;
    let pc = Pc::looking_in(&[&bad, &worse]);
    let error = pc.fetch(&mirror).await.unwrap_err();
    assert!(matches!(error, FetchError::Nowhere(_)));
    for place in [&bad, &worse, &mirror] {
        assert!(error.to_string().contains(&place.url), "{error}");
    }
    assert_eq!(kept(&pc.dir()), 0);
}

#[tokio::test]
async fn packages_take_no_more_of_the_line_than_the_limit_says() {
    let mirror = source(Manner::Good).await;
    let pc = Pc::new("bytes_per_second = 150_000");
    let began = Instant::now();
    let (last, tellings) = (AtomicU64::new(0), AtomicUsize::new(0));
    let tell = |bytes| {
        tellings.fetch_add(1, Ordering::SeqCst);
        // What had come before this piece, which came only once its predecessors were paid for.
        let before = last.swap(bytes, Ordering::SeqCst);
        let allowed = 150_000.0 * (began.elapsed().as_secs_f64() + 0.25) + 1.0;
        assert!(before < bytes && before as f64 <= allowed, "{before} after {:?}", began.elapsed());
    };
    assert_eq!(pc.fetch_telling(&mirror, &tell).await.unwrap(), content());
    assert!(began.elapsed() >= Duration::from_millis(1400), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(last.load(Ordering::SeqCst), 300_000);
    assert!(tellings.load(Ordering::SeqCst) > 3, "progress is told while it goes on");
}

#[tokio::test]
async fn what_does_not_fit_under_the_limit_is_refused_before_anything_is_fetched() {
    let mirror = source(Manner::Good).await;
    let pc = Pc::new("max_disk = 1_299_999");
    fs::create_dir_all(pc.dir.path().join("opt/connector/versions/7.2.0")).unwrap();
    fs::write(pc.dir.path().join("opt/connector/versions/7.2.0/program"), vec![1; 100_000]).unwrap();
    fs::write(pc.dir().join("00.part"), vec![1; 50_000]).unwrap();
    let error = pc.fetch(&mirror).await.unwrap_err().to_string();
    assert!(error.contains("max_disk") && error.contains("1299999"), "{error}");
    assert_eq!((mirror.asked(), kept(&pc.dir())), (0, 0));
    let pc = Pc::within(pc.dir, "max_disk = 1_300_000", LIMITS);
    assert_eq!(pc.fetch(&mirror).await.unwrap(), content());
}

/// A small file system of its own.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"]).arg(dir.path()).status();
        assert!(mounted.is_ok_and(|s| s.success()), "this test mounts a small file system, so it needs root");
        Self(dir)
    }

    fn filler(&self) -> std::path::PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|s| s.success()) || std::thread::panicking());
    }
}

fn fill(path: &Path) {
    // It ends in the error that is wanted.
    drop(std::io::copy(&mut std::io::repeat(1), &mut fs::File::create(path).unwrap()));
}

#[tokio::test]
async fn a_disk_that_is_too_small_is_refused_and_one_that_becomes_full_is_left_as_it_was() {
    let mirror = source(Manner::Good).await;
    let small = Disk::new(900_000);
    let pc = Pc::within(tempfile::tempdir_in(small.0.path()).unwrap(), "", LIMITS);
    let error = pc.fetch(&mirror).await.unwrap_err().to_string();
    assert!(error.starts_with("not enough disk space: 1200000 bytes needed"), "{error}");
    assert_eq!(mirror.asked(), 0);
    drop((pc, small));

    let disk = Disk::new(2_000_000);
    let pc = Pc::within(tempfile::tempdir_in(disk.0.path()).unwrap(), "", LIMITS);
    // After the first piece somebody else takes all that is free.
    let filled = AtomicUsize::new(0);
    let somebody_else = |_| {
        if filled.fetch_add(1, Ordering::SeqCst) == 0 {
            fill(&disk.filler());
        }
    };
    let error = pc.fetch_telling(&mirror, &somebody_else).await.unwrap_err();
    assert!(matches!(error, FetchError::Full { length: 300_000, .. }), "{error:?}");
    assert_eq!(fs::read_dir(pc.dir()).unwrap().count(), 0, "nothing is left");
    fs::remove_file(disk.filler()).unwrap();
    assert_eq!(pc.fetch(&mirror).await.unwrap(), content());
    drop(pc);
}

/// A place that speaks TLS with a certificate of its own.
struct TlsPlace {
    url: String,
    pem: String,
    requests: Arc<AtomicUsize>,
}

async fn tls_place(manner: Manner) -> TlsPlace {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/targets", listener.local_addr().unwrap().port());
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, counted) = (acceptor.clone(), counted.clone());
            tokio::spawn(async move {
                // A client that does not believe the certificate hangs up here.
                if let Ok(stream) = acceptor.accept(stream).await {
                    counted.fetch_add(1, Ordering::SeqCst);
                    drop(answer(stream, manner, Arc::default()).await);
                }
            });
        }
    });
    TlsPlace { url, pem: made.cert.pem(), requests }
}

#[tokio::test]
async fn a_place_with_a_certificate_of_nobodys_is_not_asked_and_one_that_is_named_is() {
    let (place, mirror) = (tls_place(Manner::Good).await, source(Manner::Good).await);
    let lines = format!("sources = [\"{}\"]\n", place.url);
    let pc = Pc::new(&lines);
    assert_eq!(pc.fetch(&mirror).await.unwrap(), content());
    assert_eq!((place.requests.load(Ordering::SeqCst), mirror.asked()), (0, 1));
    let certificates = pc.dir.path().join("cdn.pem");
    fs::write(&certificates, &place.pem).unwrap();
    let pc = Pc::new(&format!("{lines}certificates = \"{}\"\n", certificates.display()));
    assert_eq!(pc.fetch(&mirror).await.unwrap(), content());
    assert_eq!((place.requests.load(Ordering::SeqCst), mirror.asked()), (1, 1));
}

#[tokio::test]
async fn what_the_site_names_is_asked_before_its_mirror_and_redirects_come_to_an_end() {
    let (place, circle) = (tls_place(Manner::Good).await, tls_place(Manner::Redirects).await);
    let mirror = source(Manner::Good).await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cdn.pem"), format!("{}{}", place.pem, circle.pem)).unwrap();
    let pc = Pc::new(&format!("certificates = \"{}\"\n", dir.path().join("cdn.pem").display()));
    pc.downloads.alternate(&["http://127.0.0.1:9/".into(), circle.url.clone(), place.url.clone()]);
    assert_eq!(pc.fetch(&mirror).await.unwrap(), content());
    assert_eq!((place.requests.load(Ordering::SeqCst), mirror.asked()), (1, 0));
    assert_eq!(circle.requests.load(Ordering::SeqCst), 4, "three redirects to https:// are followed, and no more");
}

/// A proxy that wants a name and a password; what it was asked for is written down.
async fn proxy() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let written = asked.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A connection that breaks off is the client's affair.
            tokio::spawn(through(stream, written.clone()));
        }
    });
    (port, asked)
}

async fn through(mut stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let first = head.lines().next().unwrap_or_default().to_owned();
    // kim:secret, as RFC 7617 writes it.
    if !head.to_lowercase().contains("proxy-authorization: basic a2ltonnly3jlda==") {
        return stream.write_all(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n").await;
    }
    asked.lock().unwrap().push(first.clone());
    let to = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let mut there = TcpStream::connect(to).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut stream, &mut there).await.map(drop)
}

#[tokio::test]
async fn a_proxy_in_the_settings_is_used_with_its_password_except_where_they_say_not() {
    let (place, mirror, (port, asked)) = (tls_place(Manner::Good).await, source(Manner::NotFound).await, proxy().await);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cdn.pem"), &place.pem).unwrap();
    let lines = |proxy: &str| {
        let certificates = dir.path().join("cdn.pem");
        format!("sources = [\"{}\"]\ncertificates = \"{}\"\n{proxy}", place.url, certificates.display())
    };
    let pc = Pc::new(&lines(&format!("proxy = \"http://kim:secret@127.0.0.1:{port}\"")));
    assert_eq!(pc.fetch(&mirror).await.unwrap(), content());
    let said = asked.lock().unwrap().clone();
    assert!(said.len() == 1 && said[0].starts_with("CONNECT localhost:"), "{said:?}");

    let pc = Pc::new(&lines(&format!("proxy = \"http://127.0.0.1:{port}\"")));
    let error = pc.fetch(&mirror).await.unwrap_err().to_string();
    assert!(!error.contains("secret") && place.requests.load(Ordering::SeqCst) == 1, "{error}");

    let around = format!("proxy = \"http://127.0.0.1:{port}\"\nno_proxy = [\"localhost\"]");
    assert_eq!(Pc::new(&lines(&around)).fetch(&mirror).await.unwrap(), content());
    assert_eq!(asked.lock().unwrap().len(), 1, "it was not asked again");
}
