//! `lockstep-updater diagnose`: one file for whoever helps, with everything that tells what goes on here and nothing secret.
//!
//! It is made by the person who runs it, with that person's rights: root sees all, a user what a user may see. Every text goes
//! through [`Scrubber`], which knows this machine's own secrets and the shapes of others.
//!
//! | attack | answer |
//! |---|---|
//! | a secret in a log line or a setting | [`Scrubber`]: by value where it is known, by shape where not |
//! | a link planted under the archive's name | the file must not exist yet (`O_EXCL`), and is for its owner only |
//! | endless logs | each member is cut to its end, [`MAX_MEMBER`] bytes |

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use protocol::{Timestamp, ipc::Status, product::Platform};
use serde_json::Value;

use crate::{check, layout::Layout, platform, status};

pub mod scrub;

use scrub::Scrubber;

/// Bytes of one member; of a longer one the end is kept.
const MAX_MEMBER: u64 = 4 << 20;
/// Log lines that are asked of systemd.
const LOG_LINES: &str = "2000";

/// An archive that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be written")]
pub struct DiagnoseError {
    /// The archive.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// What was put into the archive, and what could not be.
#[derive(Debug, Default)]
pub struct Contents {
    /// Names of the members.
    pub members: Vec<String>,
    /// What is missing, and why.
    pub missing: Vec<String>,
}

/// Makes the archive at `output`, which must not be there yet.
///
/// # Errors
/// [`DiagnoseError`]; what cannot be read is no error, but listed as missing, in the archive too.
pub async fn diagnose(
    layout: &Layout,
    version: &str,
    output: &Path,
    now: Timestamp,
) -> Result<Contents, DiagnoseError> {
    let failed = |source| DiagnoseError { path: output.to_owned(), source };
    let status = check::status(&layout.socket()).await;
    let gathered = gather(layout, version, status, now);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(output).map_err(failed)?;
    write(file, gathered, now).map_err(|source| {
        // Half an archive helps nobody; that it could not be written is what is reported.
        drop(fs::remove_file(output));
        failed(source)
    })
}

/// Texts by name, before scrubbing.
struct Gathered {
    members: Vec<(String, Vec<u8>)>,
    missing: Vec<String>,
    scrubber: Scrubber,
}

impl Gathered {
    fn file(&mut self, name: &str, path: &Path) {
        match end_of(path) {
            Ok(bytes) => self.members.push((name.to_owned(), bytes)),
            Err(error) => self.missing.push(format!("{name}: {}: {error}", path.display())),
        }
    }

    fn text(&mut self, name: &str, text: impl Into<String>) {
        self.members.push((name.to_owned(), text.into().into_bytes()));
    }

    fn command(&mut self, name: &str, program: &str, arguments: &[&str]) {
        // An absolute path: nothing is looked up in a PATH that somebody else has set.
        let output = Command::new(program).args(arguments).env_clear().stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => self.members.push((name.to_owned(), output.stdout)),
            Ok(output) => self.missing.push(format!("{name}: {program} ended with {}", output.status)),
            Err(error) => self.missing.push(format!("{name}: {program}: {error}")),
        }
    }
}

fn gather(layout: &Layout, version: &str, found: anyhow::Result<Status>, now: Timestamp) -> Gathered {
    let mut all = Gathered { members: vec![], missing: vec![], scrubber: Scrubber::of(layout) };
    all.text("about.txt", about(layout, version, now));
    match found {
        Ok(found) => {
            all.text("status.txt", status::table(&found, now));
            match status::json(&found) {
                Ok(json) => all.text("status.json", json),
                Err(error) => all.missing.push(format!("status.json: {error}")),
            }
        }
        Err(error) => all.missing.push(format!("status: {error:#}")),
    }
    all.file("site.json", &layout.site());
    if layout.settings().exists() {
        all.file("updater.toml", &layout.settings());
    }
    for (name, path) in [
        ("state.json", layout.state()),
        ("history.jsonl", layout.history()),
        ("journal.json", layout.journal()),
        ("install-journal.json", layout.install_journal()),
    ] {
        // A journal is there only while something is done.
        if path.exists() || name == "state.json" {
            all.file(name, &path);
        }
    }
    all.text("versions.txt", tree(&layout.products(), 3));
    all.text("state-directory.txt", tree(&layout.state_dir(), 2));
    all.text("metadata.txt", metadata(layout));
    if layout.is_whole_machine() {
        all.command(
            "journalctl.txt",
            "/usr/bin/journalctl",
            &["--no-pager", "-u", "lockstep-updater", "-n", LOG_LINES],
        );
        all.command("systemctl.txt", "/usr/bin/systemctl", &["--no-pager", "status", "lockstep-updater"]);
    }
    for log in logs(layout) {
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.file(&format!("log/{name}"), &log);
    }
    all
}

fn about(layout: &Layout, version: &str, now: Timestamp) -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown").trim_matches('"');
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let free = crate::download::room::free_for(&layout.products()).map_or("unknown".into(), |b| format!("{b} bytes"));
    let who = if platform::is_root() { "root" } else { "a user, so only what a user may see" };
    format!(
        "made       {now:.0}\nby         {who}\nupdater    {version}\nplatform   {}\nsystem     {system}\nkernel     {}\nroot       {}\nfree disk  {free}\n",
        Platform::current(),
        kernel.trim(),
        layout.root().display(),
    )
}

/// Names, kinds, sizes, modes and owners, `depth` directories deep.
fn tree(dir: &Path, depth: usize) -> String {
    let mut out = format!("{}\n", dir.display());
    list(dir, depth, 1, &mut out);
    out
}

fn list(dir: &Path, depth: usize, at: usize, out: &mut String) {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return out.push_str(&format!("{}({error})\n", "  ".repeat(at))),
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries.into_iter().take(200) {
        let Ok(found) = entry.path().symlink_metadata() else { continue };
        let target = fs::read_link(entry.path()).map_or(String::new(), |to| format!(" -> {}", to.display()));
        let name = status::printable(&entry.file_name().to_string_lossy());
        out.push_str(&format!("{}{name}{target}  {}\n", "  ".repeat(at), rights(&found)));
        if found.is_dir() && at < depth {
            list(&entry.path(), depth, at + 1, out);
        }
    }
}

#[cfg(unix)]
fn rights(found: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{:o} {}:{} {} bytes", found.mode() & 0o7777, found.uid(), found.gid(), found.len())
}

#[cfg(not(unix))]
fn rights(found: &fs::Metadata) -> String {
    format!("{} bytes", found.len())
}

/// Version and expiry of each metadata file that the service has verified.
fn metadata(layout: &Layout) -> String {
    let mut out = String::new();
    let Ok(entries) = fs::read_dir(layout.tuf()) else {
        return "the verified metadata cannot be read\n".into();
    };
    let mut files: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
    files.sort();
    for path in files.into_iter().take(200) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = end_of(&path).unwrap_or_default();
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
            out.push_str(&format!("{name}: {} bytes\n", bytes.len()));
            continue;
        };
        let signed = &value["signed"];
        out.push_str(&format!(
            "{name}: version {}, expires {}, {} bytes\n",
            signed["version"],
            signed["expires"],
            bytes.len()
        ));
    }
    out
}

/// Where no systemd keeps the log, whoever starts the service may put it here.
fn logs(layout: &Layout) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(layout.root().join("var/log/lockstep")) else { return vec![] };
    let mut files: Vec<_> =
        entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_file())).map(|e| e.path()).collect();
    files.sort();
    files.truncate(20);
    files
}

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_MEMBER)))?;
    let mut bytes = Vec::new();
    file.take(MAX_MEMBER).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(file: File, gathered: Gathered, now: Timestamp) -> io::Result<Contents> {
    let Gathered { mut members, missing, scrubber } = gathered;
    if !missing.is_empty() {
        members.push(("missing.txt".into(), (missing.join("\n") + "\n").into_bytes()));
    }
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let mut contents = Contents { missing, ..Contents::default() };
    for (name, bytes) in members {
        let text = scrubber.clean(&String::from_utf8_lossy(&bytes));
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(now.as_second()).unwrap_or_default());
        archive.append_data(&mut header, format!("lockstep-diagnosis/{name}"), text.as_bytes())?;
        contents.members.push(name);
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(contents)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Secrets of every kind that this machine has, in the places where they are and in places where they have no business.
    #[tokio::test]
    async fn no_planted_secret_is_in_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("pc")).unwrap();
        let secrets = [
            "ENROLMENTKEYenrolmentkey01",
            "DEVICEKEYdevicekeydevicekey0123456789abcd=",
            "PROXYPASSWORDhunter2",
            "TOKENtokentokentoken0123",
            "TICKETSIGNATUREsignature==",
            "PLAINPASSWORDopensesame",
        ];
        let [enrolment, device, proxy, token, ticket, plain] = secrets;
        let put = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            &layout.site(),
            &format!(r#"{{"v":1,"server":"https://mail.example.test","enrolment_key":"{enrolment}"}}"#),
        );
        put(&layout.identity(), &format!(r#"{{"device":"d-1","key":"{device}","seq":5}}"#));
        put(&layout.settings(), &format!("[download]\nproxy = \"http://user:{proxy}@proxy.example.test:3128\"\n"));
        put(
            &layout.state(),
            &format!(r#"{{"v":1,"products":{{"connector":{{"failed":[{{"reason":"login {enrolment} refused"}}]}}}}}}"#),
        );
        put(
            &layout.history(),
            &format!("{{\"why\":\"http://user:{proxy}@proxy.example.test:3128 does not answer\"}}\n"),
        );
        let log = format!(
            "GET / Authorization: Bearer {token}\nticket {{\"claim\":\"c\",\"signature\":\"{ticket}\"}}\nthe key is {device}\n\
             password = \"{plain}\"\n{{\"token\":\"{token}\",\"password\":\"{plain}\"}}\nproxy-authorization: Basic {token}\n",
        );
        put(&layout.root().join("var/log/lockstep/updater.log"), &log);

        let output = dir.path().join("d.tar.gz");
        let contents = diagnose(&layout, "0.1.0", &output, Timestamp::UNIX_EPOCH).await.unwrap();
        for expected in ["about.txt", "site.json", "state.json", "updater.toml", "history.jsonl", "log/updater.log"] {
            assert!(contents.members.iter().any(|m| m == expected), "{expected} in {contents:?}");
        }
        assert!(contents.missing.iter().any(|m| m.contains("not running")), "{contents:?}");

        let mut plain_bytes = Vec::new();
        flate2::read::GzDecoder::new(File::open(&output).unwrap()).read_to_end(&mut plain_bytes).unwrap();
        let text = String::from_utf8_lossy(&plain_bytes);
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is in the archive");
            // A part of it would do as well.
            assert!(!text.contains(&secret[..12]), "a part of {secret} is in the archive");
        }
        for kept in ["mail.example.test", "proxy.example.test:3128", "does not answer", "[removed]"] {
            assert!(text.contains(kept), "{kept} is not a secret");
        }
        let again = diagnose(&layout, "0.1.0", &output, Timestamp::UNIX_EPOCH).await;
        assert!(again.is_err(), "nothing is overwritten");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
