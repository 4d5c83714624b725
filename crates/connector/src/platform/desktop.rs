//! The user's desktop, reached over the session bus (Desktop Notifications Specification 1.2).

use std::{collections::HashMap, time::Duration};

use zbus::zvariant::Value;

/// How long the bus and the desktop may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whom to ask.
const NAME: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";

/// A notification on the user's desktop, if there is one. Whatever goes wrong is noted and no more: there are other ways
/// to be told.
#[derive(Debug, Default)]
pub struct Desktop {
    /// Kept open: some desktops take a notification back when its sender leaves the bus.
    shown: Option<(zbus::Connection, u32)>,
    text: String,
}

impl Desktop {
    /// Shows a text, in place of the one shown before; the same one again is not shown twice.
    pub async fn show(&mut self, summary: &str, text: &str) {
        if self.text == text || std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_none_or(|address| address.is_empty()) {
            return;
        }
        match tokio::time::timeout(PATIENCE, self.notify(summary, text)).await {
            Ok(Ok(shown)) => {
                self.shown = Some(shown);
                text.clone_into(&mut self.text);
            }
            Ok(Err(error)) => tracing::info!(%error, "no desktop notification"),
            Err(_) => tracing::info!("no desktop notification: the desktop does not answer"),
        }
    }

    /// Takes it back.
    pub async fn withdraw(&mut self) {
        self.text.clear();
        let Some((bus, id)) = self.shown.take() else { return };
        let closing = bus.call_method(Some(NAME), PATH, Some(NAME), "CloseNotification", &id);
        if !matches!(tokio::time::timeout(PATIENCE, closing).await, Ok(Ok(_))) {
            tracing::debug!("the desktop notification was gone already");
        }
    }

    async fn notify(&self, summary: &str, text: &str) -> zbus::Result<(zbus::Connection, u32)> {
        let (bus, before) = match &self.shown {
            Some((bus, id)) => (bus.clone(), *id),
            None => (zbus::Connection::session().await?, 0),
        };
        // Urgent: it stays until the user has seen it.
        let hints = HashMap::from([("urgency", Value::from(2u8)), ("category", Value::from("email.error"))]);
        let (actions, never): (&[&str], i32) = (&[], 0);
        let body = ("Lockstep Connector", before, "mail-message-new", summary, markup(text), actions, hints, never);
        let reply = bus.call_method(Some(NAME), PATH, Some(NAME), "Notify", &body).await?;
        let id = reply.body().deserialize()?;
        Ok((bus, id))
    }
}

/// A body may hold markup, so what is text must say so.
fn markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
