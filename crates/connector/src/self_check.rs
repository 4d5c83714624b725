//! Whether this program can run here. The updater asks it before and after it makes a version the active one.

use std::path::Path;

/// Why it cannot.
#[derive(Debug, thiserror::Error)]
pub enum SelfCheckError {
    /// SQLite or its schema.
    #[error("the mail store cannot be made")]
    Store(#[from] mail_store::Error),
    /// The system's authorities or the TLS library.
    #[error("TLS cannot be set up")]
    Tls(#[from] tls_trust::TlsTrustError),
    /// The program's own version.
    #[error(transparent)]
    Version(#[from] protocol::product::BadVersion),
    /// The runtime.
    #[error("the runtime cannot be started")]
    Runtime(#[from] std::io::Error),
}

/// Makes everything that a start needs, in memory: it touches no file and no network, and needs no environment.
///
/// # Errors
/// [`SelfCheckError`].
pub fn run(version: &str) -> Result<(), SelfCheckError> {
    let version = protocol::product::parse_version(version)?;
    let limit = crate::opening::schema_of(&version);
    let store = mail_store::Store::open_limited(Path::new(":memory:"), limit, &mut |_| {})?;
    store.folders()?;
    tls_trust::check()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_good_build_passes_and_a_bad_version_does_not() {
        super::run("7.3.0").unwrap();
        assert!(super::run("seven").is_err());
    }
}
