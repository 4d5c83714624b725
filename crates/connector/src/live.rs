//! What may change while the program runs: where the mail is (the site's server says so at each check-in) and the
//! secrets (the user runs `setup` again).

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use protocol::message::MailServer;
use tls_trust::TlsTrustError;
use tokio::sync::watch;

use crate::{
    account::{Account, AccountError},
    secrets::{self, Secrets, SecretsError},
    settings::MailSettings,
};

/// Why the account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Its secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The mail server's certificate.
    #[error("the mail server's certificate, as the site names it, cannot be used; tell the administrator")]
    Tls(#[from] TlsTrustError),
}

/// The account as it is now.
#[derive(Debug)]
pub struct Live {
    data: PathBuf,
    account: Mutex<Account>,
    secrets: watch::Sender<Arc<Secrets>>,
    settings: watch::Sender<Arc<MailSettings>>,
}

impl Live {
    /// Reads the account and its secrets. `version` is the program's own.
    ///
    /// # Errors
    /// [`LiveError`].
    pub async fn load(data: &Path, version: &str) -> Result<Self, LiveError> {
        let account = Account::load(data)?;
        let secrets = secrets::load(data, &account.seat, account.secrets).await?;
        let settings = MailSettings::new(account.mail.clone(), &account.user, &secrets.mail_password, version)?;
        Ok(Self {
            data: data.into(),
            account: Mutex::new(account),
            secrets: watch::Sender::new(Arc::new(secrets)),
            settings: watch::Sender::new(Arc::new(settings)),
        })
    }

    /// The account.
    pub fn account(&self) -> Account {
        self.lock().clone()
    }

    /// The secrets.
    pub fn secrets(&self) -> watch::Receiver<Arc<Secrets>> {
        self.secrets.subscribe()
    }

    /// What it takes to use the mail server.
    pub fn settings(&self) -> watch::Receiver<Arc<MailSettings>> {
        self.settings.subscribe()
    }

    /// The site's server says where the mail is.
    ///
    /// # Errors
    /// [`LiveError`]; what was known before then stays in use.
    pub fn mail_is_at(&self, mail: &MailServer) -> Result<(), LiveError> {
        let mut account = self.lock();
        if account.mail == *mail {
            return Ok(());
        }
        let now = self.settings.borrow().clone();
        let settings = MailSettings::new(mail.clone(), &now.user, &now.password, &now.version)?;
        account.mail = mail.clone();
        account.save(&self.data)?;
        self.settings.send_replace(Arc::new(settings));
        Ok(())
    }

    /// Reads account and secrets again: the user may have run `setup` with a new password.
    ///
    /// # Errors
    /// [`LiveError`]; what was known before then stays in use.
    pub async fn reload(&self) -> Result<(), LiveError> {
        let account = Account::load(&self.data)?;
        let secrets = secrets::load(&self.data, &account.seat, account.secrets).await?;
        let changed = **self.secrets.borrow() != secrets || *self.lock() != account;
        if changed {
            let version = self.settings.borrow().version.clone();
            let settings = MailSettings::new(account.mail.clone(), &account.user, &secrets.mail_password, &version)?;
            *self.lock() = account;
            self.secrets.send_replace(Arc::new(secrets));
            self.settings.send_replace(Arc::new(settings));
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Account> {
        // The account is replaced whole, so it is whole even if a holder of the lock panicked.
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
