//! The adapter, run as the suite runs it: one process a command, the state in directories.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    server::Server,
    simulator::{Published, Repo},
};

/// A test's repository, server and client.
pub fn begin() -> (Client, Repo) {
    let published = Arc::new(Mutex::new(Published::default()));
    let server = Server::start(Arc::clone(&published));
    let dir = tempfile::tempdir().unwrap();
    let (metadata, targets) = (dir.path().join("metadata"), dir.path().join("targets"));
    fs::create_dir(&metadata).unwrap();
    fs::create_dir(&targets).unwrap();
    (Client { dir, server, metadata, targets, deadline: None }, Repo::new(published))
}

/// The same, with the client initialised from the first root.
pub fn begun() -> (Client, Repo) {
    let (client, repo) = begin();
    assert_eq!(client.init(&repo.nth("root", 1)), 0);
    (client, repo)
}

#[derive(Debug)]
pub struct Client {
    dir: TempDir,
    pub server: Server,
    pub metadata: PathBuf,
    pub targets: PathBuf,
    /// In seconds, where it is not the usual one.
    pub deadline: Option<u64>,
}

impl Client {
    pub fn init(&self, root: &[u8]) -> i32 {
        let path = self.dir.path().join("initial_root.json");
        fs::write(&path, root).unwrap();
        let mut command = self.command(None);
        command.arg("init").arg(path);
        run(&mut command)
    }

    pub fn refresh(&self) -> i32 {
        self.refresh_at(None)
    }

    /// With the clock set forward by days.
    pub fn refresh_in(&self, days: i64) -> i32 {
        self.refresh_at(Some(days))
    }

    fn refresh_at(&self, days: Option<i64>) -> i32 {
        let mut command = self.command(days);
        command.arg("--metadata-url").arg(format!("{}/metadata/", self.server.url)).arg("refresh");
        run(&mut command)
    }

    pub fn download(&self, names: &[&str]) -> i32 {
        self.download_at(names, None)
    }

    pub fn download_in(&self, names: &[&str], days: i64) -> i32 {
        self.download_at(names, Some(days))
    }

    fn download_at(&self, names: &[&str], days: Option<i64>) -> i32 {
        let mut command = self.command(days);
        command.arg("--metadata-url").arg(format!("{}/metadata", self.server.url));
        for name in names {
            command.arg("--target-name").arg(name);
        }
        command.arg("--target-dir").arg(&self.targets);
        command.arg("--target-base-url").arg(format!("{}/targets/", self.server.url)).arg("download");
        run(&mut command)
    }

    fn command(&self, days: Option<i64>) -> Command {
        let program = env!("CARGO_BIN_EXE_tuf-conformance-client");
        let mut command = match days {
            None => Command::new(program),
            Some(days) => {
                let mut faketime = Command::new("faketime");
                faketime.arg(format!("{} UTC", in_days(days).replace(['T', 'Z'], " ").trim())).arg(program);
                faketime
            }
        };
        command.arg("--metadata-dir").arg(&self.metadata);
        if let Some(deadline) = self.deadline {
            command.arg("--deadline").arg(deadline.to_string());
        }
        command
    }

    /// All that the client trusts: the names of its files, decoded by nobody, and their versions.
    pub fn trusted(&self) -> Vec<(String, u64)> {
        let mut roles = Vec::new();
        for entry in fs::read_dir(&self.metadata).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "json") {
                let value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                roles.push((name, value["signed"]["version"].as_u64().unwrap()));
            }
        }
        roles.sort();
        roles
    }

    pub fn trusts(&self, roles: &[(&str, u64)]) {
        let expected: Vec<_> = roles.iter().map(|(role, version)| ((*role).to_owned(), *version)).collect();
        assert_eq!(self.trusted(), expected);
    }

    pub fn version(&self, role: &str) -> Option<u64> {
        self.trusted().into_iter().find(|(name, _)| name == role).map(|(_, version)| version)
    }

    /// A role's file, byte for byte.
    pub fn bytes(&self, role: &str) -> Option<Vec<u8>> {
        fs::read(self.metadata.join(format!("{role}.json"))).ok()
    }

    /// What was downloaded, in any order, and nothing else that a download may leave.
    pub fn downloaded(&self) -> Vec<Vec<u8>> {
        let files = fs::read_dir(&self.targets).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap());
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    }

    pub fn has_downloaded(&self, contents: &[&[u8]]) {
        let mut expected: Vec<_> = contents.iter().map(|c| c.to_vec()).collect();
        expected.sort();
        assert_eq!(self.downloaded(), expected);
    }
}

fn run(command: &mut Command) -> i32 {
    let child = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("starting {command:?}: {e}"));
    eprint!("{}", String::from_utf8_lossy(&child.stderr));
    child.status.code().expect("it ends by itself")
}

/// A date and time in metadata's form, so many days from now.
pub fn in_days(days: i64) -> String {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    jiff::Timestamp::from_second(now + days * 24 * 3600).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What a hostile server may take of a test's time; far above what it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(50);
