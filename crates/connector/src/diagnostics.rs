//! One file for whoever helps: versions, how things stand, the last lines of the log. No mail and no passwords: what the user
//! sends on, they can read first.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use protocol::product::Platform;

use crate::{account::Account, files, log_file, platform, status::Status};

/// Bytes of each log that are taken along, from its end.
const LOG: usize = 128 * 1024;

/// Where such files are put.
pub fn folder(data: &Path) -> PathBuf {
    data.join("diagnostics")
}

/// Writes the file; gives its path.
///
/// # Errors
/// From the file system.
pub fn write(data: &Path, version: &str, now: Timestamp) -> io::Result<PathBuf> {
    let folder = folder(data);
    files::private_directory(&folder)?;
    let path = folder.join(format!("lockstep-{}.txt", now.strftime("%Y%m%d-%H%M%S")));
    files::replace_private(&path, text(data, version, now).as_bytes())?;
    Ok(path)
}

fn text(data: &Path, version: &str, now: Timestamp) -> String {
    let status = match Status::load(data) {
        Ok(Some(status)) => serde_json::to_string_pretty(&status).unwrap_or_else(|error| error.to_string()),
        Ok(None) => "none yet".into(),
        Err(error) => error.to_string(),
    };
    let account = match Account::load(data) {
        Ok(account) => format!("{}; secrets: {:?}; elevation: {:?}", account.user, account.secrets, account.elevation),
        Err(error) => error.to_string(),
    };
    let free = platform::disk_free(data).map_or_else(|| "unknown".into(), |bytes| format!("{bytes} bytes"));
    let mut text = format!(
        "Lockstep Connector {version}\nMade: {now:.0}\nComputer: {} ({})\nData: {}, {free} free\nAccount: {account}\n\n\
         == status.json ==\n{status}\n",
        platform::hostname(),
        Platform::current(),
        data.display(),
    );
    for (name, path) in [
        ("installer.json", data.join("installer.json")),
        ("connector.log.1", log_file::before(data)),
        ("connector.log", log_file::path(data)),
    ] {
        if let Some(end) = end_of(&path) {
            text += &format!("\n== {name} ==\n{end}\n");
        }
    }
    text
}

fn end_of(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let end = &bytes[bytes.len().saturating_sub(LOG)..];
    Some(String::from_utf8_lossy(end).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_helps_and_no_secrets() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("secrets.json"), r#"{"mail_password":"hidden"}"#).unwrap();
        fs::write(log_file::path(data.path()), "x".repeat(LOG) + "the last line\n").unwrap();
        let path = write(data.path(), "7.2.0", "2026-05-04T11:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(path.file_name().unwrap(), "lockstep-20260504-110000.txt");
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("Lockstep Connector 7.2.0") && text.contains("the last line"), "{text}");
        assert!(!text.contains("hidden") && text.len() < 2 * LOG);
    }
}
