//! What the mail server is answered.

use std::net::IpAddr;

use protocol::Version;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client_id::{self, Client},
    notes::Login,
    verdict::outdated,
};
use crate::{app::App, plain_text::capped, warning_log::title};

/// Characters of a message; it reaches a person as one line.
const MAX_MESSAGE: usize = 480;

/// What Dovecot sends. Everything is text there, whatever it means.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    device_id: Value,
    login: Value,
    remote: Value,
    port: Value,
    success: Value,
}

/// `command=allow`: may it log in? `command=report`: it has, or has not. Anything that is not understood may.
pub fn answer(app: &App, command: &str, body: &[u8]) -> Value {
    let asked: Asked = serde_json::from_slice(body).unwrap_or_default();
    let now = app.now();
    app.mail_gate.notes.asked(now);
    let pass = json!({"status": 0, "msg": ""});
    let Some(client) = asked.device_id.as_str().and_then(client_id::read) else { return pass };
    let user = capped(asked.login.as_str().unwrap_or_default());
    let address = asked.remote.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    let Some(mirror) = app.mirror.current() else { return pass };
    let site = app.site.site();
    if !site.products.contains_key(&client.product) {
        return pass;
    }
    let too_old_for = outdated(&client, &site, mirror.catalog(), now, app.site.seed());
    match (command, too_old_for) {
        ("allow", Some(server)) => {
            let msg = message(app, &client, server);
            app.mail_gate.notes.refused(&user, address, &client, now);
            json!({"status": -1, "msg": msg})
        }
        ("report", _) if asked.success != Value::Bool(true) => pass,
        ("allow" | "report", _) => {
            if let Some(address) = address {
                let port = asked.port.as_str().and_then(|text| text.parse().ok());
                app.mail_gate.notes.logged_in(Login { user, address, client }, port);
            }
            pass
        }
        _ => pass,
    }
}

/// Why, what to do, where the mail is meanwhile: one line of ASCII, since it reaches the user as an IMAP ALERT.
fn message(app: &App, client: &Client, server: &Version) -> String {
    let name = app.config.products.get(&client.product).map_or("the server", |p| p.server_name.as_str());
    let mut text = format!(
        "{} {} does not work with {name} any more, which has version {server} now. Let it upgrade itself, or install the \
         upgrade from {}",
        title(&client.product),
        client.version,
        app.integration_page()
    );
    if let Some(webmail) = &app.config.mail.webmail {
        text.push_str(&format!(" and read your mail at {webmail} until then"));
    }
    text.push('.');
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(MAX_MESSAGE).collect()
}
