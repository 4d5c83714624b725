//! The two switches.

use askama::Template;
use axum::{
    Form,
    extract::State,
    http::HeaderMap,
    response::{Html, IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::session::Session;
use crate::{app::App, failure::Refusal, plain_text::printable, settings, switches::Switch, wishes};

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage<'a> {
    site: &'a str,
    admin: &'a str,
    form: String,
    program: &'a str,
    readiness: bool,
    statistics: bool,
    report_every: String,
    log: String,
    file: String,
    policies: Vec<(String, Vec<String>)>,
}

/// `GET /console/settings`.
///
/// # Errors
/// 500.
pub async fn settings_page(session: Session, State(app): State<App>) -> Result<Response, Refusal> {
    let every = jiff::SignedDuration::try_from(app.config.readiness.report_every.get()).map_err(Refusal::internal)?;
    let page = SettingsPage {
        site: &app.config.name,
        admin: &session.admin,
        form: session.form_token(),
        program: app.version,
        readiness: app.switches.is_on(Switch::Readiness),
        statistics: app.switches.is_on(Switch::Statistics),
        report_every: in_words(every.as_secs()),
        log: app.warning_log.path().display().to_string(),
        policies: policies(&app),
        file: app.data.join(crate::config::FILE_NAME).display().to_string(),
    };
    Ok(Html(page.render().map_err(Refusal::internal)?).into_response())
}

/// What is in force for each product, in words.
fn policies(app: &App) -> Vec<(String, Vec<String>)> {
    let site = app.site.site();
    let words = |chosen| wishes::words(chosen).iter().map(|w| printable(w)).collect();
    site.products.iter().map(|(product, chosen)| (product.to_string(), words(chosen))).collect()
}

/// What a switch's button sends.
#[derive(Deserialize)]
pub struct Change {
    form: String,
    setting: String,
    on: bool,
}

/// `POST /console/settings`.
///
/// # Errors
/// 400, 403.
pub async fn change_setting(
    session: Session,
    State(app): State<App>,
    headers: HeaderMap,
    Form(change): Form<Change>,
) -> Result<Response, Refusal> {
    session.check_form(&app, &headers, &change.form)?;
    let switch = Switch::named(&change.setting).ok_or_else(|| Refusal::malformed("there is no such switch"))?;
    settings::set(&app, switch, change.on).await?;
    Ok(Redirect::to("/console/settings").into_response())
}

/// A length of time as people say it: the largest unit that divides it.
fn in_words(seconds: i64) -> String {
    for (unit, name) in [(86400, "day"), (3600, "hour"), (60, "minute")] {
        if seconds >= unit && seconds % unit == 0 {
            let n = seconds / unit;
            return format!("{n} {name}{}", if n == 1 { "" } else { "s" });
        }
    }
    format!("{seconds} seconds")
}
