//! Downloads from a source that behaves badly, over real connections.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use lockstep_updater::download::{DownloadError, Limits, Wanted, download, partial_name};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::sleep,
};

pub const LIMITS: Limits = Limits {
    idle: Duration::from_millis(400),
    window: Duration::from_millis(300),
    least_per_window: 1000,
    whole: None,
};

/// How a source behaves.
#[derive(Clone, Copy, PartialEq)]
pub enum Manner {
    Good,
    NoRanges,
    /// Breaks off after so many bytes.
    Breaks(usize),
    Stalls(usize),
    Trickles,
    /// Chunked, and longer than signed by this.
    Endless,
    OtherBytes,
    /// Good bytes up to here, then others.
    TurnsBad(usize),
    /// Says that so many bytes come, and sends them.
    Sends(usize),
    /// Answers every range with 416.
    Unsatisfiable,
    /// Answers a range with another one.
    WrongRange,
    /// To another path of its own.
    Redirects,
    /// To a file.
    RedirectsToFile,
    NotFound,
}

pub struct Source {
    pub url: String,
    pub requests: Arc<AtomicUsize>,
    pub sent: Arc<AtomicU64>,
}

impl Source {
    pub fn asked(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

pub fn content() -> Vec<u8> {
    (0..300_000u32).map(|i| (i * 7 % 251) as u8).collect()
}

pub async fn source(manner: Manner) -> Source {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/package", listener.local_addr().unwrap());
    let (requests, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    let source = Source { url, requests: requests.clone(), sent: sent.clone() };
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            requests.fetch_add(1, Ordering::SeqCst);
            // The client may hang up at any time: that is part of the test.
            tokio::spawn(answer(stream, manner, sent.clone()));
        }
    });
    source
}

pub async fn answer<S>(mut stream: S, manner: Manner, sent: Arc<AtomicU64>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let from = head.split("range: bytes=").nth(1).and_then(|r| r.split('-').next()?.parse::<usize>().ok());
    let all = content();
    let whole = all.len();
    let (status, from) = match from.filter(|_| manner != Manner::NoRanges) {
        Some(_) if manner == Manner::Unsatisfiable => ("416 No".to_owned(), whole),
        Some(from) if manner == Manner::WrongRange => {
            (format!("206 P\r\nContent-Range: bytes {}-", from + 1), from + 1)
        }
        Some(from) => (format!("206 P\r\nContent-Range: bytes {from}-{}/{whole}", whole - 1), from),
        None => ("200 OK".to_owned(), 0),
    };
    let mut body = all[from..].to_vec();
    if manner == Manner::OtherBytes {
        body.iter_mut().for_each(|b| *b ^= 1);
    }
    if let Manner::TurnsBad(at) = manner {
        body.iter_mut().enumerate().filter(|(i, _)| from + i >= at).for_each(|(_, b)| *b ^= 1);
    }
    if let Manner::Sends(length) = manner {
        body.resize(length, 0);
    }
    let length = match manner {
        Manner::Endless => "Transfer-Encoding: chunked".to_owned(),
        Manner::Redirects => {
            return stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n").await;
        }
        Manner::RedirectsToFile => {
            let head = b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n";
            return stream.write_all(head).await;
        }
        Manner::NotFound => {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        }
        _ => format!("Content-Length: {}", body.len()),
    };
    stream.write_all(format!("HTTP/1.1 {status}\r\n{length}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    match manner {
        Manner::Breaks(after) | Manner::Stalls(after) => {
            stream.write_all(&body[..after.min(body.len())]).await?;
            sent.fetch_add(after.min(body.len()) as u64, Ordering::SeqCst);
            if matches!(manner, Manner::Stalls(_)) {
                sleep(Duration::from_secs(60)).await;
            }
        }
        Manner::Trickles => {
            for byte in body {
                stream.write_all(&[byte]).await?;
                sleep(Duration::from_millis(20)).await;
            }
        }
        Manner::Endless => loop {
            let chunk = &body[..4096];
            stream.write_all(b"1000\r\n").await?;
            stream.write_all(chunk).await?;
            stream.write_all(b"\r\n").await?;
            sent.fetch_add(4096, Ordering::SeqCst);
        },
        _ => {
            stream.write_all(&body).await?;
            sent.fetch_add(body.len() as u64, Ordering::SeqCst);
        }
    }
    stream.shutdown().await
}

async fn fetch(source: &Source, dir: &std::path::Path) -> Result<Vec<u8>, DownloadError> {
    fetch_within(source, dir, LIMITS).await
}

async fn fetch_within(source: &Source, dir: &std::path::Path, limits: Limits) -> Result<Vec<u8>, DownloadError> {
    let all = content();
    let sha256 = hex::encode(Sha256::digest(&all));
    let client = reqwest_client();
    let wanted = Wanted { length: all.len() as u64, sha256: &sha256 };
    let mut file = download(&client, &source.url, dir, wanted, limits).await?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    Ok(bytes)
}

pub fn reqwest_client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

pub fn kept(dir: &std::path::Path) -> u64 {
    let name = partial_name(&hex::encode(Sha256::digest(content())));
    fs::metadata(dir.join(name)).map_or(0, |m| m.len())
}

#[tokio::test]
async fn a_package_is_fetched_once_and_then_not_again() {
    let dir = tempfile::tempdir().unwrap();
    let source = source(Manner::Good).await;
    assert_eq!(fetch(&source, dir.path()).await.unwrap(), content());
    assert_eq!(fetch(&source, dir.path()).await.unwrap(), content());
    assert_eq!(source.requests.load(Ordering::SeqCst), 1);
    let name = partial_name(&hex::encode(Sha256::digest(content())));
    assert_eq!(fs::metadata(dir.path().join(name)).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let broken = source(Manner::Breaks(200_000)).await;
    assert!(matches!(fetch(&broken, dir.path()).await, Err(DownloadError::Transfer { .. })));
    assert_eq!(kept(dir.path()), 200_000);
    let good = source(Manner::Good).await;
    assert_eq!(fetch(&good, dir.path()).await.unwrap(), content());
    assert_eq!(good.sent.load(Ordering::SeqCst), 100_000);
}

#[tokio::test]
async fn a_source_without_ranges_is_read_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let broken = source(Manner::Breaks(1000)).await;
    assert!(fetch(&broken, dir.path()).await.is_err());
    let source = source(Manner::NoRanges).await;
    assert_eq!(fetch(&source, dir.path()).await.unwrap(), content());
}

#[tokio::test]
async fn a_source_that_cannot_go_on_is_asked_for_the_whole() {
    for manner in [Manner::WrongRange, Manner::Unsatisfiable] {
        let dir = tempfile::tempdir().unwrap();
        let broken = source(Manner::Breaks(1000)).await;
        assert!(fetch(&broken, dir.path()).await.is_err());
        let source = source(manner).await;
        assert_eq!(fetch(&source, dir.path()).await.unwrap(), content());
        assert_eq!(source.asked(), 2);
    }
}

#[tokio::test]
async fn what_is_here_is_not_given_up_for_a_package_of_another_length() {
    let dir = tempfile::tempdir().unwrap();
    let broken = source(Manner::Breaks(200_000)).await;
    assert!(fetch(&broken, dir.path()).await.is_err());
    for length in [0, 99_999, 100_001, 5_000_000] {
        let wrong = source(Manner::Sends(length)).await;
        let error = fetch(&wrong, dir.path()).await.unwrap_err();
        assert!(matches!(error, DownloadError::NotSigned { .. }), "{length}: {error}");
        assert_eq!(kept(dir.path()), 200_000, "{length}");
    }
    let good = source(Manner::Good).await;
    assert_eq!(fetch(&good, dir.path()).await.unwrap(), content());
    assert_eq!(good.sent(), 100_000);
}

#[tokio::test]
async fn good_bytes_and_then_bad_ones_are_refused_and_what_they_spoiled_is_fetched_anew() {
    let dir = tempfile::tempdir().unwrap();
    let turns = source(Manner::TurnsBad(150_000)).await;
    assert!(matches!(fetch(&turns, dir.path()).await, Err(DownloadError::NotSigned { .. })));
    assert_eq!(kept(dir.path()), 0);
    // Bad bytes that lie there as if they were a beginning.
    let name = partial_name(&hex::encode(Sha256::digest(content())));
    let mut beginning = content()[..200_000].to_vec();
    beginning[199_999] ^= 1;
    fs::write(dir.path().join(&name), beginning).unwrap();
    let good = source(Manner::Good).await;
    assert_eq!(fetch(&good, dir.path()).await.unwrap(), content());
    assert_eq!((good.asked(), good.sent()), (2, 400_000));
}

#[tokio::test]
async fn endless_data_stops_at_the_signed_length() {
    let dir = tempfile::tempdir().unwrap();
    let source = source(Manner::Endless).await;
    assert!(matches!(fetch(&source, dir.path()).await, Err(DownloadError::NotSigned { .. })));
    assert_eq!(kept(dir.path()), 0);
    assert!(source.sent.load(Ordering::SeqCst) < 20 * content().len() as u64);
}

#[tokio::test]
async fn other_bytes_are_refused_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let bad = source(Manner::OtherBytes).await;
    assert!(matches!(fetch(&bad, dir.path()).await, Err(DownloadError::NotSigned { .. })));
    assert_eq!(kept(dir.path()), 0);
    let good = source(Manner::Good).await;
    assert_eq!(fetch(&good, dir.path()).await.unwrap(), content());
}

#[tokio::test]
async fn a_poisoned_partial_file_is_noticed_and_fetched_anew() {
    let name = partial_name(&hex::encode(Sha256::digest(content())));
    for length in [1000, 300_000, 400_000] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(&name), vec![9; length]).unwrap();
        let good = source(Manner::Good).await;
        assert_eq!(fetch(&good, dir.path()).await.unwrap(), content(), "{length}");
    }
}

#[tokio::test]
async fn a_link_in_the_place_of_the_partial_file_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let canary = dir.path().join("canary");
    fs::write(&canary, "untouched").unwrap();
    let name = partial_name(&hex::encode(Sha256::digest(content())));
    std::os::unix::fs::symlink(&canary, dir.path().join(&name)).unwrap();
    let good = source(Manner::Good).await;
    assert!(matches!(fetch(&good, dir.path()).await, Err(DownloadError::Disk(_))));
    fs::remove_file(dir.path().join(&name)).unwrap();
    fs::hard_link(&canary, dir.path().join(&name)).unwrap();
    assert!(matches!(fetch(&good, dir.path()).await, Err(DownloadError::Disk(_))));
    assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched");
}

#[tokio::test]
async fn a_source_that_stalls_or_trickles_is_left() {
    for manner in [Manner::Stalls(0), Manner::Stalls(1000), Manner::Trickles] {
        let dir = tempfile::tempdir().unwrap();
        let source = source(manner).await;
        let began = Instant::now();
        assert!(matches!(fetch(&source, dir.path()).await, Err(DownloadError::Stalled { .. })));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_source_that_drips_for_ever_is_left_at_the_deadline_and_its_bytes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let source = source(Manner::Trickles).await;
    let limits = Limits { least_per_window: 1, whole: Some(Duration::from_millis(1500)), ..LIMITS };
    let began = Instant::now();
    assert!(matches!(fetch_within(&source, dir.path(), limits).await, Err(DownloadError::Stalled { .. })));
    assert!(began.elapsed() >= Duration::from_millis(1500) && began.elapsed() < Duration::from_secs(20));
    assert!(kept(dir.path()) > 0);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let source = source(Manner::Redirects).await;
    assert!(matches!(fetch(&source, dir.path()).await, Err(DownloadError::Status { .. })));
    assert_eq!(source.requests.load(Ordering::SeqCst), 1);
}
