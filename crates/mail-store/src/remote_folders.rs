//! What the mail server says about folders: taken over without a journal row.

use crate::store::Change;
use crate::{Folder, FolderId, PendingOp, Result, Store, names};
use std::collections::BTreeSet;

/// A folder as the mail server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFolder {
    /// Name in UTF-8 (see [`crate::decode_utf7`]).
    pub name: String,
    /// Hierarchy delimiter, or empty.
    pub delimiter: String,
    /// `\Sent`, `\Drafts`, …, if marked so.
    pub special_use: Option<String>,
    /// Whether subscribed.
    pub subscribed: bool,
    /// False for `\Noselect` and `\NonExistent`.
    pub selectable: bool,
}

impl Store {
    /// Takes over the mail server's whole list of folders: makes new ones, updates attributes, and removes those no longer
    /// listed unless pending changes are going to make or fill them. Names that were deleted or renamed here, with that
    /// still pending, do not come back. Returns the folders now here, INBOX first.
    pub fn apply_remote_folders(&mut self, listed: &[RemoteFolder], now: i64) -> Result<Vec<Folder>> {
        self.change(|c| {
            let pending = c.pending_renames_and_deletions()?;
            let mut seen = BTreeSet::new();
            for remote in listed {
                let name = names::fold_inbox(&remote.name, &remote.delimiter);
                let Some(name) = name_here(name, &remote.delimiter, &pending) else { continue };
                if names::check(&name, &remote.delimiter).is_err() {
                    continue;
                }
                let id = match c.folder_by_name(&name)? {
                    Some(folder) => folder.id,
                    None => c.insert_folder(&name, &remote.delimiter, now)?,
                };
                seen.insert(id);
                c.update_folder(id, remote)?;
            }
            for folder in c.folders()? {
                if folder.name != "INBOX" && !seen.contains(&folder.id) && c.pending_of_folder(folder.id)?.is_empty() {
                    c.remove_folder(folder.id, now)?;
                }
            }
            c.folders()
        })
    }

    /// Takes over a folder's UIDVALIDITY, UIDNEXT and HIGHESTMODSEQ. True if the UIDVALIDITY is not the known one: then
    /// every remote UID of the folder has been forgotten, and after fetching all messages again
    /// [`Store::apply_remote_restart_done`] must be called.
    pub fn apply_remote_state(
        &mut self,
        folder: FolderId,
        uidvalidity: u32,
        uidnext: Option<u32>,
        modseq: Option<u64>,
    ) -> Result<bool> {
        self.change(|c| {
            let known = c.folder(folder)?.remote_uidvalidity;
            let restart = known.is_some_and(|v| v != uidvalidity);
            if restart {
                // One by one: through the view of an older program, one statement would gather all bodies first.
                for message in crate::messages::in_folder(&c.sql, c.schema, folder)? {
                    if message.remote_uid.is_some() {
                        c.set_remote_uid(message.id, None)?;
                    }
                }
                c.sql.execute("UPDATE vanished SET remote_uid = NULL WHERE folder = ?1", [folder])?;
            }
            c.sql.execute(
                "UPDATE folders SET remote_uidvalidity = ?2, remote_uidnext = ?3 WHERE id = ?1",
                (folder, uidvalidity, uidnext),
            )?;
            if c.schema.has_remote_modseq() {
                let modseq = modseq.and_then(|m| i64::try_from(m).ok());
                c.sql.execute("UPDATE folders SET remote_modseq = ?2 WHERE id = ?1", (folder, modseq))?;
            }
            Ok(restart)
        })
    }
}

/// What a folder of the mail server is called here once the pending changes are counted in; `None` if it was deleted here.
fn name_here(name: String, delimiter: &str, pending: &[PendingOp]) -> Option<String> {
    let mut name = name;
    for op in pending {
        match op {
            PendingOp::DeleteFolder { name: deleted, .. } if *deleted == name => return None,
            PendingOp::RenameFolder { from, to, .. } => {
                let below = name.strip_prefix(from.as_str());
                if below.is_some_and(|rest| rest.is_empty() || (!delimiter.is_empty() && rest.starts_with(delimiter))) {
                    name = format!("{to}{}", &name[from.len()..]);
                }
            }
            _ => {}
        }
    }
    Some(name)
}

impl Change<'_> {
    /// The folder changes the mail server has not heard of, in order.
    fn pending_renames_and_deletions(&self) -> Result<Vec<PendingOp>> {
        let mut statement = self.sql.prepare_cached(
            "SELECT op FROM pending p WHERE NOT EXISTS (SELECT 1 FROM pending_done d WHERE d.seq = p.seq) ORDER BY seq",
        )?;
        let mut ops = Vec::new();
        for op in statement.query_map([], |r| r.get::<_, String>(0))? {
            let op = serde_json::from_str(&op?)?;
            if matches!(op, PendingOp::RenameFolder { .. } | PendingOp::DeleteFolder { .. }) {
                ops.push(op);
            }
        }
        Ok(ops)
    }

    fn update_folder(&mut self, id: FolderId, remote: &RemoteFolder) -> Result<()> {
        let folder = self.folder(id)?;
        let mut subscribed = remote.subscribed;
        let mut selectable = remote.selectable;
        for op in self.pending_of_folder(id)? {
            match op {
                PendingOp::Subscribe { on, .. } => subscribed = on,
                PendingOp::CreateFolder { .. } => selectable = true,
                _ => {}
            }
        }
        let same = folder.on_server
            && folder.delimiter == remote.delimiter
            && folder.special_use == remote.special_use
            && folder.subscribed == subscribed
            && folder.selectable == selectable;
        if !same {
            self.sql.execute(
                "UPDATE folders SET delimiter = ?2, special_use = ?3, subscribed = ?4, selectable = ?5, on_server = 1 \
                 WHERE id = ?1",
                (id, &remote.delimiter, &remote.special_use, subscribed, selectable),
            )?;
            self.touched.folder_list = true;
        }
        Ok(())
    }
}
