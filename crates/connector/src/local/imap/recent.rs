//! `\Recent` (RFC 3501, section 2.3.2): each message is recent in exactly one session, the first that may write and hears of it.
//!
//! For each folder the store remembers the first UID that no such session has heard of, so that this holds across restarts.

use mail_store::{FolderId, Store};
use std::collections::BTreeSet;

fn key(folder: FolderId) -> String {
    format!("recent:{}", folder.0)
}

/// The first UID of the folder that is still recent.
pub(super) fn first(store: &Store, folder: FolderId) -> Result<u32, mail_store::Error> {
    Ok(store.meta(&key(folder))?.and_then(|first| first.parse().ok()).unwrap_or(0))
}

/// Which of these UIDs (ascending) are recent; a session that may write takes them for itself.
pub(super) fn claim(
    store: &mut Store,
    folder: FolderId,
    uids: &[u32],
    read_only: bool,
) -> Result<BTreeSet<u32>, mail_store::Error> {
    let first = first(store, folder)?;
    let recent: BTreeSet<u32> = uids[uids.partition_point(|&uid| uid < first)..].iter().copied().collect();
    if let (Some(last), false) = (recent.last(), read_only)
        && let Err(error) = store.set_meta(&key(folder), Some(&last.saturating_add(1).to_string()))
    {
        // A full disk must not keep anybody from reading; the messages are recent once more, then.
        tracing::debug!(error = &error as &dyn std::error::Error, "cannot remember which messages are recent");
    }
    Ok(recent)
}
