//! What it takes to use the mail server: where it is, whom to believe, and who the user is.

use std::sync::Arc;

use protocol::message::MailServer;

use tls_trust::TlsTrustError;

/// Everything the synchronisation and the outbox need.
#[derive(Clone)]
pub struct MailSettings {
    /// Where the mail is.
    pub server: MailServer,
    /// Whom to believe.
    pub tls: Arc<rustls::ClientConfig>,
    /// The mail account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The connector's own version.
    pub version: String,
}

impl MailSettings {
    /// Settings for a mail server as the site's server describes it.
    ///
    /// # Errors
    /// [`TlsTrustError`] when its certificate is of no use.
    pub fn new(server: MailServer, user: &str, password: &str, version: &str) -> Result<Self, TlsTrustError> {
        let tls = Arc::new(tls_trust::client_config(server.certificate.as_deref())?);
        Ok(Self { server, tls, user: user.into(), password: password.into(), version: version.into() })
    }
}

impl std::fmt::Debug for MailSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailSettings").field("server", &self.server).field("user", &self.user).finish_non_exhaustive()
    }
}
