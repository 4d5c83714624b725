//! The program's log as entries of the event log: a service has no other place where people look.

use std::io::{self, Write};

use tracing::{Level, Metadata};
use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

use super::service;

/// Sends the program's log to the event log; `RUST_LOG` says how much of it.
pub fn log_to_events() {
    // The event log has its own clock.
    tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_writer(Events)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .finish()
        .with(crate::service::log_filter())
        .init();
}

struct Events;

impl<'a> MakeWriter<'a> for Events {
    type Writer = Entry;

    fn make_writer(&'a self) -> Entry {
        Entry { level: service::Level::Information, text: Vec::new() }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Entry {
        let level = match *meta.level() {
            Level::ERROR => service::Level::Error,
            Level::WARN => service::Level::Warning,
            _ => service::Level::Information,
        };
        Entry { level, text: Vec::new() }
    }
}

/// One entry, written when it is complete.
struct Entry {
    level: service::Level,
    text: Vec<u8>,
}

impl Write for Entry {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        if !text.trim().is_empty() {
            service::log(self.level, text.trim());
        }
    }
}
