//! The integration page: the installers for the visitor's system, each a folder that can be verified without any network
//! ([`bundle`]): packages for Linux, the vendor's MSI for Windows.

mod bundle;
mod offers;
mod visitor;

use askama::Template;
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use protocol::{Version, product::ProductId};
use tokio_util::io::ReaderStream;

use crate::{app::App, failure::Refusal};
pub use bundle::{BundleError, Bundles};
use offers::{Offer, Wish, offers, wanted};
use visitor::System;

#[derive(Template)]
#[template(path = "integration.html")]
struct Page<'a> {
    site: &'a str,
    server: String,
    webmail: Option<&'a str>,
    system: System,
    offers: Vec<Offer>,
    program: &'a str,
}

impl Page<'_> {
    /// Whether there is something for the visitor's system.
    fn fits(&self) -> bool {
        self.offers.iter().any(|offer| offer.yours)
    }
}

/// `GET /integration`.
///
/// # Errors
/// 500.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refusal> {
    let system = System::of(&headers);
    let server = server_of(&app);
    let page = Page {
        site: &app.config.name,
        server: server.as_ref().map_or("not known yet".into(), Version::to_string),
        webmail: app.mail.webmail.as_deref(),
        offers: offers(&app, server.as_ref(), system),
        system,
        program: app.version,
    };
    Ok(Html(page.render().map_err(Refusal::internal)?).into_response())
}

/// `GET /integration/updater`: the updater for the visitor's system; an address that stays right. Where there is no package of the updater
/// alone, the connector's brings it along.
pub async fn updater(State(app): State<App>, headers: HeaderMap) -> Redirect {
    to(&app, &headers, |offer| offer.updater.or(offer.connector).map(|d| d.file))
}

/// `GET /integration/connector`: the connector for the visitor's system; an address that stays right.
pub async fn connector(State(app): State<App>, headers: HeaderMap) -> Redirect {
    to(&app, &headers, |offer| offer.connector.map(|d| d.file))
}

fn to(app: &App, headers: &HeaderMap, file: impl FnOnce(Offer) -> Option<String>) -> Redirect {
    let mine = offers(app, server_of(app).as_ref(), System::of(headers)).into_iter().find(|o| o.yours).and_then(file);
    Redirect::to(&mine.map_or("/integration".into(), |file| format!("/integration/{file}")))
}

fn server_of(app: &App) -> Option<Version> {
    app.site.product(&ProductId::connector()).and_then(|p| p.server)
}

/// `GET /integration/{file}`: one of the files that the page offers.
///
/// # Errors
/// 404; 500.
pub async fn download(State(app): State<App>, Path(file): Path<String>) -> Result<Response, Refusal> {
    let absent = || Refusal::absent("there is no such download; the integration page lists them");
    let (kind, body, length) = match wanted(&app, server_of(&app).as_ref(), &file).ok_or_else(absent)? {
        Wish::Archive(wanted) => {
            let kind = if wanted.form == bundle::Form::Tar { "application/gzip" } else { "application/zip" };
            let path = app.bundles.get(&app, wanted).await.map_err(Refusal::internal)?;
            let opened = tokio::fs::File::open(&path).await.map_err(Refusal::internal)?;
            let length = opened.metadata().await.map_err(Refusal::internal)?.len();
            (kind, Body::from_stream(ReaderStream::new(opened)), length)
        }
        Wish::Installer(part) => {
            let reading = tokio::task::spawn_blocking(move || part.read()).await.map_err(Refusal::internal)?;
            let bytes = reading.map_err(Refusal::internal)?;
            let length = bytes.len() as u64;
            ("application/x-msi", Body::from(bytes), length)
        }
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let disposition = format!("attachment; filename=\"{file}\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(disposition).map_err(Refusal::internal)?);
    Ok(response)
}
