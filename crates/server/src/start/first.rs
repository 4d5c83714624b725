//! The first start: from a few flags to a directory that explains itself.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use protocol::product::ProductId;
use release::{
    durable::{self, Access},
    tuf,
};

use super::StartError;
use crate::{
    config::{FirstStart, HostPort, Loopback, Missing, SiteUrl, SourceKind, VendorRepository, template},
    platform,
};

/// What the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// The server's address for people and PCs.
    pub url: Option<SiteUrl>,
    /// The vendor's repository.
    pub vendor: Option<VendorRepository>,
    /// The vendor's `root.json`; it is copied.
    pub vendor_root: Option<PathBuf>,
    /// IMAP over TLS.
    pub imap: Option<HostPort>,
    /// Submission.
    pub submission: Option<HostPort>,
    /// Whether submission uses STARTTLS.
    pub submission_starttls: Option<bool>,
    /// CA or certificate of the mail server; it is copied.
    pub mail_ca: Option<PathBuf>,
    /// The WebMail.
    pub webmail: Option<SiteUrl>,
    /// The first product.
    pub product: Option<ProductId>,
    /// What its server is called.
    pub server_name: Option<String>,
    /// A probe, as one line that is split into words as a shell would, without running one.
    pub probe: Option<String>,
    /// An address that tells the version.
    pub version_url: Option<SiteUrl>,
    /// Where the mail server asks about logins.
    pub mail_gate: Option<Loopback>,
}

/// Makes the data directory: `server.toml`, the pinned root, the mail server's CA. The configuration comes last, so a
/// first start that fails can simply be repeated.
///
/// # Errors
/// [`StartError`], with what to do.
pub fn first_start(data: &Path, config: &Path, flags: &Flags) -> Result<(), StartError> {
    let (Some(url), Some(vendor), Some(root), Some(imap), Some(submission)) =
        (&flags.url, &flags.vendor, &flags.vendor_root, &flags.imap, &flags.submission)
    else {
        return Err(missing(flags).into());
    };
    if url.as_str().starts_with("http://") {
        let why = "PCs and people reach this server over TLS; begin it with https://".into();
        return Err(StartError::Flag { flag: "--url", why });
    }
    let source = source(flags)?;
    let root_bytes = read("the vendor's root", root)?;
    let ca = flags.mail_ca.as_ref().map(|path| read("the mail server's CA", path)).transpose()?;

    platform::make_private_directory(data).map_err(failed("the data directory", data))?;
    check_root(data, root, &root_bytes)?;
    let write = |name: &str, bytes: &[u8]| {
        let path = data.join(name);
        durable::replace(&path, bytes, Access::Public).map_err(failed("the file", &path))
    };
    write("vendor-root.json", &root_bytes)?;
    if let Some(ca) = &ca {
        write("mail-ca.pem", ca)?;
    }
    let vendor = match vendor {
        VendorRepository::Directory(path) => {
            VendorRepository::Directory(std::path::absolute(path).map_err(failed("the vendor's directory", path))?)
        }
        url @ VendorRepository::Url(_) => url.clone(),
    };
    let text = template(&FirstStart {
        listen: flags.listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 4443))),
        url: url.clone(),
        vendor,
        imap: imap.clone(),
        submission: submission.clone(),
        submission_starttls: flags.submission_starttls,
        mail_ca: ca.is_some().then(|| "mail-ca.pem".into()),
        webmail: flags.webmail.clone(),
        product: flags.product.clone().unwrap_or_else(ProductId::connector),
        server_name: flags.server_name.clone(),
        source,
        mail_gate: flags.mail_gate,
    });
    durable::replace(config, text.as_bytes(), Access::Private).map_err(failed("the configuration", config))
}

fn missing(flags: &Flags) -> Missing {
    let said = [
        ("--url", flags.url.is_some()),
        ("--vendor", flags.vendor.is_some()),
        ("--vendor-root", flags.vendor_root.is_some()),
        ("--imap", flags.imap.is_some()),
        ("--submission", flags.submission.is_some()),
    ];
    Missing(said.iter().filter(|(_, said)| !said).map(|(flag, _)| *flag).collect())
}

fn source(flags: &Flags) -> Result<SourceKind, StartError> {
    match (&flags.probe, &flags.version_url) {
        (Some(line), _) => match shlex::split(line) {
            Some(argv) if !argv.is_empty() => Ok(SourceKind::Probe(argv)),
            _ => Err(StartError::Flag {
                flag: "--server-version-probe",
                why: format!("{line:?} is not a program and its arguments, such as \"/usr/sbin/dovecot --version\""),
            }),
        },
        (None, Some(url)) => Ok(SourceKind::Url(url.clone())),
        (None, None) => Ok(SourceKind::Pushed),
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(failed(what, path))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StartError + use<> {
    let path = path.to_owned();
    move |source| StartError::File { what, path, source }
}

/// Tries the root before anything is written that would make it count.
fn check_root(data: &Path, path: &Path, bytes: &[u8]) -> Result<(), StartError> {
    let trial = tempfile::tempdir_in(data).map_err(failed("the data directory", data))?;
    match tuf::Repository::open(trial.path(), bytes) {
        Ok(_) => Ok(()),
        Err(source) => Err(StartError::VendorRoot { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_start_that_was_told_too_little_says_what_is_missing() {
        let flags = Flags { url: Some("https://mail.example.test".parse().unwrap()), ..Flags::default() };
        let dir = tempfile::tempdir().unwrap();
        let error = first_start(dir.path(), &dir.path().join("server.toml"), &flags).unwrap_err().to_string();
        assert!(error.contains("--vendor, --vendor-root, --imap, --submission"), "{error}");
        assert!(!error.contains("--url"), "{error}");
    }

    #[test]
    fn a_root_that_is_none_is_refused_before_anything_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root.json");
        fs::write(&root, "{}").unwrap();
        let flags = Flags {
            url: Some("https://mail.example.test".parse().unwrap()),
            vendor: Some("https://releases.example.test".parse().unwrap()),
            vendor_root: Some(root),
            imap: Some("mail.example.test:993".parse().unwrap()),
            submission: Some("mail.example.test:587".parse().unwrap()),
            ..Flags::default()
        };
        let data = dir.path().join("data");
        let error = first_start(&data, &data.join("server.toml"), &flags).unwrap_err();
        assert!(matches!(error, StartError::VendorRoot { .. }), "{error}");
        assert!(!data.join("server.toml").exists() && !data.join("vendor-root.json").exists());
    }
}
