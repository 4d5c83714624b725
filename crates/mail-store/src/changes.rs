//! What changed since somebody last asked: the store's side of "tell me when there is news".

use crate::FolderId;
use std::collections::BTreeSet;

/// What committed transactions touched since the last [`crate::Store::take_changes`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Folders whose messages changed (new, flags, gone).
    pub folders: BTreeSet<FolderId>,
    /// A folder was made, renamed, deleted, or its subscription or attributes changed.
    pub folder_list: bool,
    /// The journal of pending changes has new rows.
    pub pending: bool,
    /// The outbox has a new message or one changed its state.
    pub outbox: bool,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    pub(crate) fn merge(&mut self, other: Changes) {
        self.folders.extend(other.folders);
        self.folder_list |= other.folder_list;
        self.pending |= other.pending;
        self.outbox |= other.outbox;
    }
}
