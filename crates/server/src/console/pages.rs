//! The first page: who is cut off now, and the preflight table.

use askama::Template;
use axum::{
    extract::{Query, State},
    http::header,
    response::{Html, IntoResponse, Response},
};
use protocol::{Version, device::DeviceState, preflight::Readiness, product::parse_version};
use serde::Deserialize;

use super::{
    moment::{Moment, moment},
    now::{CutOffLine, TroubleLine, gate_line, lines_of},
    session::Session,
};
use crate::{
    admin::managed,
    app::App,
    failure::Refusal,
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

#[derive(Template)]
#[template(path = "preflight.html")]
struct FirstPage<'a> {
    site: &'a str,
    admin: &'a str,
    form: String,
    program: &'a str,
    problems: Vec<String>,
    cut_off: Vec<CutOffLine>,
    silent: usize,
    troubles: Vec<TroubleLine>,
    mail_gate: Option<String>,
    product: String,
    server_name: &'a str,
    server: Option<Version>,
    expected: Option<Version>,
    to: Option<Version>,
    /// Whether that is the version that the server has.
    is_now: bool,
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
    let (cut_off, silent, troubles) = lines_of(&facts, &app.zone);
    let table = to.as_ref().map(|to| facts.table(&product, to));
    let (why_unknown, rows, summary) = match table {
        Some(table) => (table.why_unknown, table.rows, table.summary),
        None => (Some("the server's version is not known yet".into()), Vec::new(), Summary::default()),
    };
    let server = facts.site.products.get(&product).and_then(|p| p.server.clone());
    let is_now = server.is_some() && server == to;
    let page = FirstPage {
        site: &app.config.name,
        admin: &session.admin,
        form: session.form_token(),
        program: app.version,
        problems: app.problems(),
        cut_off,
        silent,
        troubles,
        mail_gate: gate_line(&app),
        server_name: app.config.products.get(&product).map_or("the server", |p| p.server_name.as_str()),
        server,
        expected: app.site.expected(&product),
        product: product.to_string(),
        to,
        bad_to,
        why_unknown,
        lines: rows.iter().map(|row| line(row, is_now, &app)).collect(),
        is_now,
        summary,
        integration_page: app.integration_page(),
    };
    Ok(Html(page.render().map_err(Refusal::internal)?).into_response())
}

/// `GET /assets/site.css`.
pub async fn style_sheet() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, include_str!("../../assets/site.css")).into_response()
}

fn line(row: &Row, is_now: bool, app: &App) -> Line {
    let (class, verdict, remedy) = match &row.readiness {
        Readiness::Current => ("quiet", "works as it is".into(), String::new()),
        Readiness::Ready { staged: true } => ("good", "ready, staged".into(), String::new()),
        Readiness::Ready { staged: false } => ("good", "ready, not staged yet".into(), String::new()),
        Readiness::WouldAsk { staged } => {
            ("ask", format!("would ask its user{}", if *staged { ", staged" } else { "" }), String::new())
        }
        Readiness::WouldWait { staged, until } => {
            let until = moment(*until, &app.zone).people;
            let staged = if *staged { ", staged" } else { "" };
            let remedy = "let the windows bind recommended upgrades only, or give them more hours".into();
            ("ask", format!("would wait for its window until {until}{staged}"), remedy)
        }
        Readiness::NotSeen { since } => {
            let remedy = "switch it on and connected before the upgrade".into();
            ("ask", format!("not seen since {}", moment(*since, &app.zone).people), remedy)
        }
        Readiness::CutOff { reason, remedy } if is_now => ("bad", format!("cut off: {reason}"), remedy.clone()),
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
