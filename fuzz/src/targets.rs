//! One function for each parser of bytes from outside. It may refuse the bytes in any way but a panic, an endless loop or
//! memory without bound; and what it accepts must keep the promises that are asserted here.
//!
//! The fuzzer calls these functions (`cargo xtask soak --only fuzz-…`), and so does the updater's test `fuzz_corpus`, on
//! every input of `fuzz/corpus` and on seeded mutations of them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    convert::Infallible,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    pin::pin,
    task::{Context, Poll, Waker},
};

use ed25519_dalek::{Signer, SigningKey};
use protocol::{
    Decision, Directive,
    catalog::{Catalog, Entry, Release},
    ipc::{FrameReader, MAX_REPLY, MAX_REQUEST, Reply, Request},
    message,
};
use release::{
    carried_root, package, safe_path,
    tuf::{self, Fetch, Repository, Trusted},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A target: its name, which is also that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of this file's targets.
pub const ALL: &[Target] = &[
    ("ipc", ipc),
    ("package", package),
    ("carried_root", carried_root),
    ("tuf_root", tuf_root),
    ("tuf_metadata", tuf_metadata),
    ("messages", messages),
    ("catalog", catalog),
];

/// Frames of the IPC, both ways, in whatever pieces they come.
pub fn ipc(data: &[u8]) {
    frames::<Request>(data, MAX_REQUEST, |request| {
        // A request is a verb and nothing else: nothing of what was sent can be in it but that.
        assert_eq!(Request { v: request.v, ..Request::new(request.verb) }, request);
    });
    frames::<Reply>(data, MAX_REPLY, |reply| again(&reply));
}

fn frames<T: DeserializeOwned>(data: &[u8], limit: usize, check: impl Fn(T)) {
    let whole = frames_in_pieces(data, limit, data.len().max(1), &check);
    let piece = data.first().map_or(1, |b| usize::from(*b).max(1));
    assert_eq!(frames_in_pieces(data, limit, piece, &check), whole, "the pieces make a difference");
}

/// How many frames there were before the first that is none. A frame that is too long counts as none, wherever it is seen.
fn frames_in_pieces<T: DeserializeOwned>(data: &[u8], limit: usize, piece: usize, check: &impl Fn(T)) -> usize {
    let mut reader = FrameReader::new(limit);
    let mut count = 0;
    for bytes in data.chunks(piece) {
        reader.push(bytes);
        loop {
            match reader.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    check(frame);
                    count += 1;
                }
                Err(_) => return count,
            }
        }
    }
    count
}

/// A package from its first byte to its last.
pub fn package(data: &[u8]) {
    if let Ok(manifest) = package::verify(data) {
        for file in &manifest.files {
            safe_path::check(&file.path).expect("only safe paths are accepted");
            assert_eq!(file.mode & !0o755, 0, "no setuid, nothing that others can write");
        }
    }
    // Without its magic and length, so that the fuzzer gets to the manifest.
    let mut framed = data.to_vec();
    if !data.starts_with(package::MAGIC) {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
        framed = [package::MAGIC, length.as_slice(), data].concat();
    }
    if let Ok(manifest) = package::read_manifest(&mut framed.as_slice()) {
        again(&manifest);
    }
}

/// The end of a program.
pub fn carried_root(data: &[u8]) {
    let Ok(Some(root)) = carried_root::read(&mut Cursor::new(data)) else { return };
    tuf::check_root(&root).expect("a carried root is a root");
    assert!(data.ends_with(&carried_root::trailer(&root).expect("it can be carried again")));
}

/// A root that is to be pinned.
pub fn tuf_root(data: &[u8]) {
    // Whether it is one is not ours to say; that it can be said is.
    drop(tuf::check_root(data));
}

/// One role of a repository, as a mirror may serve it. The first byte says which, and whether the vendor signs it: then the
/// input is what the vendor says; else it is the file.
pub fn tuf_metadata(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    let (name, key) = match which & 7 {
        0 => ("2.root.json", "root"),
        1 => ("timestamp.json", "timestamp"),
        2 => ("1.snapshot.json", "snapshot"),
        3 => ("1.targets.json", "targets"),
        _ => ("1.delegated.json", "delegated"),
    };
    let said = if which & 0x80 == 0 { None } else { serde_json::from_slice::<Value>(data).ok() };
    let signed = said.map(|said| sign(&said, key));
    thread_local!(static LAB: Lab = Lab::new());
    LAB.with(|lab| lab.serve(name, signed.as_deref().unwrap_or(data), signed.is_some()));
}

/// What the site's server answers, and what devices and connectors send it.
pub fn messages(data: &[u8]) {
    round_trip::<message::Failure>(data);
    round_trip::<message::Enrol>(data);
    round_trip::<message::Enrolled>(data);
    round_trip::<message::DeviceCheckIn>(data);
    round_trip::<message::DeviceDirectives>(data);
    round_trip::<message::PushHello>(data);
    round_trip::<message::Push>(data);
    round_trip::<message::Login>(data);
    round_trip::<message::LoggedIn>(data);
    round_trip::<message::ConnectorCheckIn>(data);
    round_trip::<message::Ticket>(data);
    round_trip::<message::TicketClaim>(data);
    round_trip::<message::ConnectorDirective>(data);
    round_trip::<Directive>(data);
    round_trip::<Decision>(data);
}

/// What a vendor says about a release.
pub fn catalog(data: &[u8]) {
    round_trip::<Release>(data);
    round_trip::<Entry>(data);
    round_trip::<Catalog>(data);
}

fn round_trip<T: DeserializeOwned + Serialize>(data: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(data) {
        again(&value);
    }
}

/// What was read can be written, and read again as the same.
pub fn again<T: DeserializeOwned + Serialize>(value: &T) {
    let written = serde_json::to_vec(value).expect("what was read can be written");
    let read: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&read).expect("again"), written);
}

/// A small repository with one file replaced, and a client that begins anew each time.
struct Lab {
    dir: PathBuf,
    _owned: tempfile::TempDir,
    client: Repository,
    files: BTreeMap<String, Vec<u8>>,
}

struct Serving<'a> {
    lab: &'a Lab,
    name: &'a str,
    bytes: &'a [u8],
}

impl Fetch for Serving<'_> {
    type Error = Infallible;

    async fn fetch(&self, path: &str, max_length: u64) -> Result<Option<Vec<u8>>, Infallible> {
        let name = path.strip_prefix("metadata/").unwrap_or(path);
        let bytes = if name == self.name { Some(self.bytes) } else { self.lab.files.get(name).map(Vec::as_slice) };
        // As every transport must: no more than the limit and one byte.
        let most = usize::try_from(max_length).unwrap_or(usize::MAX).saturating_add(1);
        Ok(bytes.map(|bytes| bytes[..bytes.len().min(most)].to_vec()))
    }
}

impl Lab {
    fn new() -> Self {
        // In memory where that can be had: a refresh waits for the disk after each file.
        let memory = Path::new("/dev/shm");
        let owned = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let owned = owned.expect("a temporary directory");
        let mut files = BTreeMap::new();
        for (name, role, signed) in base() {
            files.insert(name.to_owned(), sign(&signed, role));
        }
        let root = files.remove("1.root.json").expect("there is a first root");
        let dir = owned.path().join("tuf");
        let client = Repository::open(&dir, &root).expect("the pinned root is a root");
        let lab = Self { dir, _owned: owned, client, files };
        assert!(lab.refresh("none", b"").is_ok(), "with nothing replaced it can be followed");
        lab
    }

    fn refresh(&self, name: &str, bytes: &[u8]) -> Result<Trusted, tuf::Error> {
        let now = "2026-05-04T11:00:00Z".parse().expect("a time");
        ready(self.client.refresh(&Serving { lab: self, name, bytes }, now))
    }

    fn serve(&self, name: &str, bytes: &[u8], by_the_vendor: bool) {
        // All that a client knows is in its directory.
        for path in self.kept() {
            fs::remove_file(path).expect("the directory is ours");
        }
        let Ok(trusted) = self.refresh(name, bytes) else {
            if by_the_vendor {
                // Half of it may have been believed: it goes on from there, well or not.
                drop(self.refresh("none", b""));
            } else {
                self.has_nothing_unsigned();
            }
            return;
        };
        if !by_the_vendor {
            let signed = self.files.get(name).and_then(|bytes| says(bytes));
            assert!(signed.is_some() && says(bytes) == signed, "what nobody signed is not accepted");
        }
        for (path, info) in trusted.targets() {
            safe_path::check(path).expect("only safe paths are handed out");
            assert_eq!(info.sha256.len(), 64);
        }
        for entry in &trusted.catalog().entries {
            assert!(trusted.target(&entry.target).is_some());
        }
        let known = self.client.known().expect("the directory can be read").expect("what was refreshed is known");
        assert_eq!(known.version(), trusted.version());
    }

    /// What nobody signed spoils nothing: all that was kept is what the vendor says, and the client can go on from that.
    fn has_nothing_unsigned(&self) {
        for path in self.kept() {
            let bytes = fs::read(&path).expect("the directory is ours");
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name of the reader's");
            let original = self.files.get(name);
            let same = original.is_some_and(|original| *original == bytes || says(original) == says(&bytes));
            assert!(same, "{name} is kept, and nobody signed it");
        }
    }

    /// The files that the client has.
    fn kept(&self) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.dir).expect("the directory is ours");
        entries.map(|entry| entry.expect("the directory is ours").path())
    }
}

/// What is said in signed metadata.
fn says(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Value>(bytes).ok().map(|v| v["signed"].clone())
}

/// A repository's files: their names, whose key signs them, and what they say.
fn base() -> Vec<(&'static str, &'static str, Value)> {
    let role =
        |kind: &str| json!({"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": "2099-01-01T00:00:00Z"});
    let with = |kind: &str, members: Value| {
        let mut signed = role(kind);
        let (Some(signed_members), Some(members)) = (signed.as_object_mut(), members.as_object()) else {
            return signed;
        };
        signed_members.extend(members.clone());
        signed
    };
    let key = |name: &str| {
        let public = hex::encode(signing_key(name).verifying_key().as_bytes());
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}})
    };
    let top = ["root", "timestamp", "snapshot", "targets"];
    let keys: Value = top.iter().map(|name| ((*name).to_owned(), key(name))).collect();
    let roles: Value = top.iter().map(|name| ((*name).to_owned(), json!({"keyids": [name], "threshold": 1}))).collect();
    let target = json!({"length": 5, "hashes": {"sha256": "0".repeat(64)}});
    let delegations = json!({
        "keys": {"delegated": key("delegated")},
        "roles": [{"name": "delegated", "keyids": ["delegated"], "threshold": 1, "terminating": false, "paths": ["d/*"]}],
    });
    let pin = json!({"version": 1});
    vec![
        ("1.root.json", "root", with("root", json!({"consistent_snapshot": true, "keys": keys, "roles": roles}))),
        ("timestamp.json", "timestamp", with("timestamp", json!({"meta": {"snapshot.json": pin}}))),
        (
            "1.snapshot.json",
            "snapshot",
            with("snapshot", json!({"meta": {"targets.json": pin, "delegated.json": pin}})),
        ),
        (
            "1.targets.json",
            "targets",
            with("targets", json!({"targets": {"a/b.lpk": target}, "delegations": delegations})),
        ),
        ("1.delegated.json", "delegated", with("targets", json!({"targets": {"d/e.lpk": target}}))),
    ]
}

/// The inputs that the fuzzer of [`tuf_metadata`] begins with: each role as the vendor says it, and as it is served.
pub fn tuf_metadata_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, (_, role, mut signed)) in (0u8..).zip(base()) {
        seeds.push([&[number], sign(&signed, role).as_slice()].concat());
        if role == "root" {
            signed["version"] = 2.into();
        }
        let said = serde_json::to_vec(&signed).expect("JSON can be written");
        seeds.push([&[0x80 | number], said.as_slice()].concat());
    }
    seeds
}

fn signing_key(name: &str) -> SigningKey {
    thread_local!(static KEYS: RefCell<BTreeMap<String, SigningKey>> = RefCell::default());
    let make = || SigningKey::from_bytes(&Sha256::digest(name).into());
    KEYS.with_borrow_mut(|keys| keys.entry(name.to_owned()).or_insert_with(make).clone())
}

/// `serde_json` writes an object's members in order and no spaces: canonical but for odd strings, whose signature is then
/// one that does not verify.
fn sign(signed: &Value, key: &str) -> Vec<u8> {
    let bytes = serde_json::to_vec(signed).expect("JSON can be written");
    let sig = hex::encode(signing_key(key).sign(&bytes).to_bytes());
    serde_json::to_vec(&json!({"signatures": [{"keyid": key, "sig": sig}], "signed": signed}))
        .expect("JSON can be written")
}

/// The outcome of something that waits for nobody.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
    }
}
