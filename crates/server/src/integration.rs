//! The integration page: the installers for the visitor's system, each a folder that can be verified without any network
//! ([`bundle`]).

mod bundle;
mod visitor;

use askama::Template;
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use protocol::{
    Version,
    catalog::{Catalog, Entry},
    device::STABLE,
    product::{Platform, ProductId},
};
use tokio_util::io::ReaderStream;

use crate::{app::App, failure::Refusal, mirror::Served};
pub use bundle::{BundleError, Bundles};
use visitor::System;

/// What the page offers for one platform.
#[derive(Debug)]
struct Offer {
    platform: Platform,
    updater: Option<Download>,
    connector: Option<Download>,
    yours: bool,
}

#[derive(Debug)]
struct Download {
    version: Version,
    file: String,
    folder: String,
}

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

/// `GET /integration`.
///
/// # Errors
/// 500.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refusal> {
    let system = System::of(&headers);
    let catalog = app.catalog();
    let server = app.site.product(&ProductId::connector()).and_then(|p| p.server);
    let page = Page {
        site: &app.config.name,
        server: server.as_ref().map_or("not known yet".into(), Version::to_string),
        webmail: app.mail.webmail.as_deref(),
        offers: offers(&catalog, server.as_ref(), &system),
        system,
        program: app.version,
    };
    Ok(Html(page.render().map_err(Refusal::internal)?).into_response())
}

/// `GET /integration/updater`: the updater for the visitor's system; an address that stays right.
pub async fn updater(State(app): State<App>, headers: HeaderMap) -> Redirect {
    let system = System::of(&headers);
    let offers = offers(&app.catalog(), None, &system);
    let mine = offers.iter().find(|o| o.yours).and_then(|o| o.updater.as_ref());
    match mine {
        Some(download) => Redirect::to(&format!("/integration/{}", download.file)),
        None => Redirect::to("/integration"),
    }
}

/// `GET /integration/{file}`: one of the files that the page offers.
///
/// # Errors
/// 404; 500.
pub async fn download(State(app): State<App>, Path(file): Path<String>) -> Result<Response, Refusal> {
    let absent = || Refusal::absent("there is no such download; the integration page lists them");
    let served = app.mirror.current().ok_or_else(absent)?;
    let server = app.site.product(&ProductId::connector()).and_then(|p| p.server);
    let wanted = wanted(&served, server.as_ref(), &file).ok_or_else(absent)?;
    let path = app.bundles.get(&app, wanted).await.map_err(Refusal::internal)?;
    let opened = tokio::fs::File::open(&path).await.map_err(Refusal::internal)?;
    let length = opened.metadata().await.map_err(Refusal::internal)?.len();
    let mut response = Body::from_stream(ReaderStream::new(opened)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let disposition = format!("attachment; filename=\"{file}\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(disposition).map_err(Refusal::internal)?);
    Ok(response)
}

/// The releases that a download is made of.
fn wanted(served: &Served, server: Option<&Version>, file: &str) -> Option<bundle::Wanted> {
    let catalog = served.catalog();
    for platform in platforms(catalog) {
        let part = |entry: &Entry| bundle::Part::of(served, entry);
        let updater = newest(catalog, &ProductId::updater(), &platform, None);
        let connector = newest(catalog, &ProductId::connector(), &platform, server);
        let parts = match (connector, updater) {
            (_, Some(updater)) if download_of(updater).file == file => vec![updater],
            (Some(connector), updater) if download_of(connector).file == file => {
                std::iter::once(connector).chain(updater).collect()
            }
            _ => continue,
        };
        let Download { folder, .. } = download_of(parts[0]);
        return Some(bundle::Wanted {
            name: format!("{folder}-{platform}"),
            folder,
            parts: parts.into_iter().map(part).collect::<Option<_>>()?,
            metadata: served.metadata_files().to_vec(),
        });
    }
    None
}

fn offers(catalog: &Catalog, server: Option<&Version>, system: &System) -> Vec<Offer> {
    let offer = |platform: Platform| Offer {
        updater: newest(catalog, &ProductId::updater(), &platform, None).map(download_of),
        connector: newest(catalog, &ProductId::connector(), &platform, server).map(download_of),
        yours: system.is(&platform),
        platform,
    };
    let mut offers: Vec<Offer> = platforms(catalog).into_iter().map(offer).collect();
    offers.sort_by_key(|o| !o.yours);
    offers
}

/// The platforms that there are installers for: Linux, until other installers can be made.
fn platforms(catalog: &Catalog) -> Vec<Platform> {
    let mut all: Vec<Platform> =
        catalog.entries.iter().map(|e| e.release.platform.clone()).filter(|p| p.os == "linux").collect();
    all.sort();
    all.dedup();
    all
}

/// The newest stable release that works with the server; the newest of all while the server's version is unknown.
fn newest<'a>(
    catalog: &'a Catalog,
    product: &ProductId,
    platform: &Platform,
    server: Option<&Version>,
) -> Option<&'a Entry> {
    let fits = |e: &&Entry| server.is_none_or(|server| e.release.works_with(server));
    catalog.of(product, platform, STABLE).filter(fits).max_by(|a, b| a.release.version.cmp(&b.release.version))
}

fn download_of(entry: &Entry) -> Download {
    let r = &entry.release;
    let folder = format!("lockstep-{}-{}", r.product, r.version);
    Download { version: r.version.clone(), file: format!("{folder}-{}.tar.gz", r.platform), folder }
}
