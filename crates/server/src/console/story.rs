//! The stories: of a PC, and of the site.

use std::cmp::Reverse;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{Html, IntoResponse, Response},
};
use jiff::Timestamp;
use protocol::Version;

use super::{
    moment::{Moment, moment},
    session::Session,
};
use crate::{
    app::App,
    failure::Refusal,
    plain_text::printable,
    preflight::{Facts, gate_name, state_name},
    store::StoreError,
};

/// A line of a story.
#[derive(Debug)]
struct Told {
    order: Timestamp,
    at: Moment,
    who: String,
    text: String,
}

#[derive(Template)]
#[template(path = "pc.html")]
struct PcPage<'a> {
    site: &'a str,
    admin: &'a str,
    form: String,
    program: &'a str,
    pc: String,
    facts: Vec<(&'static str, String)>,
    story: Vec<Told>,
}

/// `GET /console/pc/{id}`: one PC, and its story. The id is a device's, or a seat's where there is no updater.
///
/// # Errors
/// 404, 500.
pub async fn pc_page(session: Session, State(app): State<App>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let facts = Facts::gather(&app).await?;
    let device = facts.devices.iter().find(|d| d.device.id == id);
    let seats: Vec<_> =
        facts.seats.iter().filter(|s| s.id.as_str() == id || s.device.as_deref() == Some(&id)).collect();
    let hostname = match (device, seats.first()) {
        (Some(device), _) => device.device.hostname.as_str(),
        (None, Some(seat)) => seat.hostname.as_deref().unwrap_or_default(),
        (None, None) => return Err(Refusal::absent("there is no such PC")),
    };
    let mut lines = Vec::new();
    if let Some(row) = device {
        let d = &row.device;
        lines.push(("Device", d.id.clone()));
        lines.push(("System", printable(&format!("{}, channel {}", d.platform, d.channel))));
        lines.push(("Updater", d.updater.as_ref().map_or("none".into(), Version::to_string)));
        for (product, state) in &d.products {
            let installed = state.installed.as_ref().map_or("not installed".into(), Version::to_string);
            let staged = state.staged.iter().map(|v| format!(", {v} staged")).collect::<String>();
            let detail = state.detail.as_deref().map(|d| format!(" ({})", printable(d))).unwrap_or_default();
            lines.push(("Product", format!("{product} {installed}{staged}: {}{detail}", state_name(state.state))));
            for failed in &state.failed {
                let text = format!("{product} {} on {}: {}", failed.version, failed.at, printable(&failed.reason));
                lines.push(("Rolled back", text));
            }
        }
        lines.push(("Last check-in", moment(row.last_seen, &app.zone).people));
    } else {
        lines.push(("Updater", "none: an administrator must reinstall once, from the integration page".into()));
    }
    let mut story = of(&app, &id, "updater").await?;
    for seat in &seats {
        let user = seat.user.as_deref().map_or("(not stored)".into(), printable);
        let version = seat.version.as_ref().map_or("?".into(), Version::to_string);
        let gate = seat.gate.map_or("not seen".into(), gate_name);
        let seen = moment(seat.last_seen, &app.zone).people;
        let waiting = if seat.outbox == 0 { String::new() } else { format!(", {} waiting to be sent", seat.outbox) };
        let detail = seat.detail.as_deref().map(|d| format!("; reports: {}", printable(d))).unwrap_or_default();
        lines.push(("User", format!("{user}: runs {version}, {gate}{waiting}{detail}; last check-in {seen}")));
        if let Some(since) = seat.cut_off_since {
            lines.push(("Cut off", format!("{user}, since {}", moment(since, &app.zone).people)));
        }
        if seat.id.as_str() == id {
            story.clear();
        }
        story.extend(of(&app, seat.id.as_str(), &user).await?);
    }
    story.sort_by_key(|told| Reverse(told.order));
    let page = PcPage {
        site: &app.config.name,
        admin: &session.admin,
        form: session.form_token(),
        program: app.version,
        pc: printable(hostname),
        facts: lines,
        story,
    };
    Ok(Html(page.render().map_err(Refusal::internal)?).into_response())
}

#[derive(Template)]
#[template(path = "site.html")]
struct SitePage<'a> {
    site: &'a str,
    admin: &'a str,
    form: String,
    program: &'a str,
    story: Vec<Told>,
}

/// `GET /console/site`: what happened to the site as a whole.
///
/// # Errors
/// 500.
pub async fn site_page(session: Session, State(app): State<App>) -> Result<Response, Refusal> {
    let page = SitePage {
        site: &app.config.name,
        admin: &session.admin,
        form: session.form_token(),
        program: app.version,
        story: of(&app, "site", "").await?,
    };
    Ok(Html(page.render().map_err(Refusal::internal)?).into_response())
}

/// A story, newest first.
async fn of(app: &App, subject: &str, who: &str) -> Result<Vec<Told>, StoreError> {
    let events = app.store.story(subject).await?.into_iter();
    let told = events.map(|e| Told {
        order: e.at,
        at: moment(e.at, &app.zone),
        who: who.to_owned(),
        text: printable(&e.text),
    });
    Ok(told.collect())
}
