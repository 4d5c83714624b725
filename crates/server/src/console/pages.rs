//! The pages to look at: the preflight table, and the story of a PC.

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::header,
    response::{Html, IntoResponse, Response},
};
use jiff::{Timestamp, tz::TimeZone};
use protocol::{Version, device::DeviceState, preflight::Readiness, product::parse_version};
use serde::Deserialize;

use super::session::Session;
use crate::{
    admin::managed,
    app::App,
    failure::Refusal,
    plain_text::printable,
    preflight::{Facts, Row, Summary, gate_name, state_name},
};

/// A row as the page shows it.
#[derive(Debug)]
struct Line {
    user: String,
    nobody: bool,
    pc: String,
    link: String,
    installed: String,
    updater: String,
    class: &'static str,
    verdict: String,
    remedy: String,
    state: String,
    detail: String,
    last_seen: Moment,
}

/// A time, for people and for programs.
#[derive(Debug)]
struct Moment {
    people: String,
    machine: String,
}

#[derive(Template)]
#[template(path = "preflight.html")]
struct FirstPage<'a> {
    site: &'a str,
    admin: &'a str,
    form: String,
    program: &'a str,
    problems: Vec<String>,
    product: String,
    server_name: &'a str,
    server: Option<Version>,
    expected: Option<Version>,
    to: Option<Version>,
    bad_to: Option<String>,
    why_unknown: Option<String>,
    lines: Vec<Line>,
    summary: Summary,
    integration_page: String,
}

/// What the first page may be asked for.
#[derive(Debug, Deserialize)]
pub struct Asked {
    to: Option<String>,
    product: Option<String>,
}

/// `GET /console`: who would be ready for the next version, and who would be cut off.
///
/// # Errors
/// 404 for a product that the site does not manage; 500.
pub async fn first_page(
    session: Session,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let named = asked.product.or_else(|| app.config.products.keys().next().map(ToString::to_string));
    let product = managed(&app, named.as_deref())?;
    let facts = Facts::gather(&app).await?;
    let text = asked.to.filter(|text| !text.trim().is_empty());
    let (to, bad_to) = match text.as_deref().map(parse_version) {
        Some(Ok(version)) => (Some(version), None),
        Some(Err(error)) => (facts.next(&product), Some(error.to_string())),
        None => (facts.next(&product), None),
    };
    let table = to.as_ref().map(|to| facts.table(&product, to));
    let (why_unknown, rows, summary) = match table {
        Some(table) => (table.why_unknown, table.rows, table.summary),
        None => (Some("the server's version is not known yet".into()), Vec::new(), Summary::default()),
    };
    let page = FirstPage {
        site: &app.config.name,
        admin: &session.admin,
        form: session.form_token(),
        program: app.version,
        problems: app.problems(),
        server_name: app.config.products.get(&product).map_or("the server", |p| p.server_name.as_str()),
        server: facts.site.products.get(&product).and_then(|p| p.server.clone()),
        expected: app.site.expected(&product),
        product: product.to_string(),
        to,
        bad_to,
        why_unknown,
        lines: rows.iter().map(|row| line(row, &app)).collect(),
        summary,
        integration_page: app.integration_page(),
    };
    Ok(Html(page.render().map_err(Refusal::internal)?).into_response())
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
    story: Vec<(Moment, String)>,
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
    let mut story = app.store.story(&id).await?;
    for seat in &seats {
        let user = seat.user.as_deref().map_or("(not stored)".into(), printable);
        let version = seat.version.as_ref().map_or("?".into(), Version::to_string);
        let gate = seat.gate.map_or("not seen".into(), gate_name);
        let seen = moment(seat.last_seen, &app.zone).people;
        let waiting = if seat.outbox == 0 { String::new() } else { format!(", {} waiting to be sent", seat.outbox) };
        lines.push(("User", format!("{user}: runs {version}, {gate}{waiting}; last check-in {seen}")));
        if seat.id.as_str() != id {
            story.extend(app.store.story(seat.id.as_str()).await?);
        }
    }
    story.sort_by_key(|event| std::cmp::Reverse(event.at));
    let page = PcPage {
        site: &app.config.name,
        admin: &session.admin,
        form: session.form_token(),
        program: app.version,
        pc: printable(hostname),
        facts: lines,
        story: story.into_iter().map(|e| (moment(e.at, &app.zone), printable(&e.text))).collect(),
    };
    Ok(Html(page.render().map_err(Refusal::internal)?).into_response())
}

/// `GET /assets/site.css`.
pub async fn style_sheet() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, include_str!("../../assets/site.css")).into_response()
}

fn line(row: &Row, app: &App) -> Line {
    let (class, verdict, remedy) = match &row.readiness {
        Readiness::Current => ("quiet", "works as it is".into(), String::new()),
        Readiness::Ready { staged: true } => ("good", "ready, staged".into(), String::new()),
        Readiness::Ready { staged: false } => ("good", "ready, not staged yet".into(), String::new()),
        Readiness::WouldAsk { staged } => {
            ("ask", format!("would ask its user{}", if *staged { ", staged" } else { "" }), String::new())
        }
        Readiness::NotSeen { since } => {
            let remedy = "switch it on and connected before the upgrade".into();
            ("ask", format!("not seen since {}", moment(*since, &app.zone).people), remedy)
        }
        Readiness::CutOff { reason, remedy } => ("bad", format!("would be cut off: {reason}"), remedy.clone()),
    };
    let state = match (row.state, row.gate) {
        (Some(DeviceState::Idle) | None, Some(gate)) => gate_name(gate),
        (Some(state), Some(gate)) => format!("{}, {}", gate_name(gate), state_name(state)),
        (Some(state), None) => state_name(state),
        (None, None) => String::new(),
    };
    Line {
        user: row.user.clone().unwrap_or_else(|| "nobody yet".into()),
        nobody: row.user.is_none(),
        pc: if row.pc.is_empty() { "unnamed".into() } else { row.pc.clone() },
        link: format!("/console/pc/{}", row.subject),
        installed: row.installed.as_ref().map_or("none".into(), Version::to_string),
        updater: row.updater.as_ref().map_or("none".into(), Version::to_string),
        class,
        verdict,
        remedy,
        state,
        detail: row.detail.clone().unwrap_or_default(),
        last_seen: moment(row.last_seen, &app.zone),
    }
}

fn moment(at: Timestamp, zone: &TimeZone) -> Moment {
    let people = at.to_zoned(zone.clone()).strftime("%-d %b %Y, %H:%M").to_string();
    Moment { people, machine: at.to_string() }
}
