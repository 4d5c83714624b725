//! The same for what the updater alone reads; see [`super::targets`].

use std::path::Path;

use lockstep_updater::{settings, site, sse};

use super::targets::{Target, again};

/// All of this file's targets.
pub const ALL: &[Target] = &[("configuration", configuration), ("sse", sse)];

/// What an administrator, or whoever wrote the site's profile, says.
pub fn configuration(data: &[u8]) {
    if let Ok(profile) = site::parse(Path::new("site.json"), data) {
        assert!(profile.server.starts_with("https://"));
        again(&profile);
    }
    // The message is read by people on a terminal: it must be there.
    if let Err(message) = settings::parse(data) {
        assert!(!message.is_empty());
    }
}

/// The server's event stream, in whatever pieces it comes.
pub fn sse(data: &[u8]) {
    let events = |piece: usize| {
        let mut parser = sse::Parser::default();
        let mut all = Vec::new();
        for bytes in data.chunks(piece) {
            match parser.push(bytes) {
                Ok(events) => all.extend(events),
                Err(_) => return (all.len(), true, Vec::new()),
            }
        }
        (all.len(), false, all)
    };
    let (_, failed, whole) = events(data.len().max(1));
    let piece = data.first().map_or(1, |b| usize::from(*b).max(1));
    let (_, failed_too, pieces) = events(piece);
    assert_eq!((failed, &whole), (failed_too, &pieces), "the pieces make a difference");
    assert!(whole.iter().all(|event| event.len() <= sse::MAX_EVENT));
}
