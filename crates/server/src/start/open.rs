//! Every start: from the data directory to a server that is ready to serve.

use std::{fs, path::Path, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use protocol::{message::MailServer, site::SiteProfile};
use release::durable::{self, Access};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::StartError;
use crate::{
    app::{App, Clock, Limits, Parts, resolve},
    config::{Config, Tls},
    console::password,
    integration::Bundles,
    mail_gate::Gate,
    mail_login::MailLogin,
    mirror::{Mirror, Source},
    push::Switchboard,
    secrets::{random_token, token_hash},
    site::SiteState,
    store::Store,
    switches::{Switch, Switches},
    tls::{self, Identity},
    warning_log::WarningLog,
};

/// A server that is ready to serve.
#[derive(Debug)]
pub struct Opened {
    /// All parts.
    pub app: App,
    /// What it shows to clients.
    pub identity: Identity,
    /// The first administrator's password, when one has just been made.
    pub new_password: Option<String>,
}

/// `admin.json`: how the administrator's own programs reach this server.
#[derive(Debug, Serialize, Deserialize)]
struct AdminFile {
    url: String,
    certificate: Option<String>,
    token: String,
}

/// Opens the data directory.
///
/// # Errors
/// [`StartError`], with what to do.
pub async fn open(
    data: &Path,
    config_file: &Path,
    version: &'static str,
    clock: Clock,
    zone: TimeZone,
    stop: watch::Receiver<bool>,
) -> Result<Opened, StartError> {
    tls::install_provider();
    let config = Config::read(config_file)?;
    let identity = identity(data, &config)?;
    let vendor_root = read("the vendor's root", &resolve(data, &config.vendor.root))?;
    let mail_ca = match &config.mail.ca {
        Some(path) => Some(String::from_utf8_lossy(&read("the mail server's CA", &resolve(data, path))?).into_owned()),
        None => None,
    };
    let mail_login = MailLogin::new(config.mail.imap.clone(), Arc::new(tls_trust::client_config(mail_ca.as_deref())?));

    let store = Store::open(&data.join("lockstep.sqlite")).await?;
    let switches = Switches::new(config_file, &config);
    if !switches.is_on(Switch::Readiness) {
        store.forget_names().await?;
    }
    let new_password = administrator(data, &store).await?;
    let profile = SiteProfile {
        v: 1,
        server: config.url.as_str().to_owned(),
        certificate: identity.pin.clone(),
        enrolment_key: store.fact_or("enrolment_key", random_token).await?,
        name: config.name.clone(),
        policy: None,
    };
    let mail = MailServer {
        imap: config.mail.imap.to_string(),
        submission: config.mail.submission.to_string(),
        submission_starttls: config.mail.submission_starttls,
        certificate: mail_ca,
        webmail: config.mail.webmail.as_ref().map(|url| url.as_str().to_owned()),
    };
    let mail_gate = Gate::load(&store).await?;
    let site = SiteState::load(&config, &store).await?;
    let source = Source::new(&config.vendor.repository).map_err(|e| StartError::Source(e.into()))?;
    let mirror = Arc::new(Mirror::open(&data.join("mirror"), source, &vendor_root)?);
    let http = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| StartError::Source(e.into()))?;
    let app = App::new(Parts {
        version,
        origins: origins(&config),
        data: data.to_owned(),
        bundles: Bundles::in_directory(data.join("downloads")),
        warning_log: WarningLog::in_directory(data),
        config,
        store,
        clock,
        zone,
        site,
        switches,
        mirror,
        push: Arc::new(Switchboard::default()),
        limits: Limits::default(),
        mail_login,
        mail_gate,
        mail,
        profile,
        vendor_root,
        http,
        problems: std::sync::Mutex::default(),
        stop,
    });
    admin_file(data, &app).await?;
    Ok(Opened { app, identity, new_password })
}

/// The certificate; a self-signed one is made where the usual place is empty.
fn identity(data: &Path, config: &Config) -> Result<Identity, StartError> {
    let (certificate, key) = (resolve(data, &config.tls.certificate), resolve(data, &config.tls.key));
    let usual = Tls::default();
    let ours = config.tls.certificate == usual.certificate && config.tls.key == usual.key;
    if ours && !certificate.exists() && !key.exists() {
        let year = i32::from(jiff::Timestamp::now().to_zoned(TimeZone::UTC).year());
        tls::make_self_signed(config.url.host(), year, &certificate, &key)?;
    }
    Ok(tls::load(&certificate, &key)?)
}

/// Makes the first administrator, when there is none.
async fn administrator(data: &Path, store: &Store) -> Result<Option<String>, StartError> {
    if store.has_admin().await? {
        return Ok(None);
    }
    let mut new = random_token();
    new.truncate(20);
    let path = data.join("initial-admin-password");
    let failed = |source| StartError::File { what: "the password file", path: path.clone(), source };
    durable::replace(&path, format!("{new}\n").as_bytes(), Access::Private).map_err(failed)?;
    let for_hash = new.clone();
    let hash = tokio::task::spawn_blocking(move || password::hash(&for_hash)).await;
    let hash = hash.map_err(|stopped| failed(std::io::Error::other(stopped)))??;
    store.set_admin("admin", &hash).await?;
    Ok(Some(new))
}

/// Writes `admin.json` with the present address and certificate. Its token stays while it is good.
async fn admin_file(data: &Path, app: &App) -> Result<(), StartError> {
    let path = data.join("admin.json");
    let known = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<AdminFile>(&bytes).ok());
    let token = match known {
        Some(file) if app.store.program_token(&token_hash(&file.token)).await? => file.token,
        _ => {
            let new = random_token();
            app.store.drop_program_tokens().await?;
            app.store.open_session(&token_hash(&new), "admin", None, app.now()).await?;
            new
        }
    };
    let file =
        AdminFile { url: app.config.url.as_str().to_owned(), certificate: app.profile.certificate.clone(), token };
    let failed = |source| StartError::File { what: "the administrator's file", path: path.clone(), source };
    let text = serde_json::to_vec_pretty(&file).map_err(|e| failed(e.into()))?;
    durable::replace(&path, &text, Access::Private).map_err(failed)
}

/// What a browser may say as `Origin`: the server's address, and this machine's own names for it.
fn origins(config: &Config) -> Vec<String> {
    let port = config.listen.port();
    vec![config.url.origin(), format!("https://localhost:{port}"), format!("https://127.0.0.1:{port}")]
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(|source| StartError::File { what, path: path.to_owned(), source })
}
