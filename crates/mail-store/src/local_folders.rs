//! What a mail program does to folders: each change and its journal row in one transaction.

use crate::{Error, FolderId, PendingOp, Result, Store, names};

impl Store {
    /// Makes a folder (and its journal row); it is not subscribed (RFC 3501, section 6.3.3). Errors: [`Error::FolderExists`], [`Error::BadFolderName`],
    /// [`Error::InboxIsFixed`].
    pub fn create_folder(&mut self, name: &str, now: i64) -> Result<FolderId> {
        self.change(|c| {
            let delimiter = c.delimiter()?;
            let name = names::fold_inbox(name, &delimiter);
            if name == "INBOX" {
                return Err(Error::InboxIsFixed);
            }
            if let Some(folder) = c.folder_by_name(&name)? {
                if folder.selectable {
                    return Err(Error::FolderExists(name));
                }
                c.sql.execute("UPDATE folders SET selectable = 1 WHERE id = ?1", [folder.id])?;
                c.touched.folder_list = true;
                c.record(&PendingOp::CreateFolder { folder: folder.id, name }, now)?;
                return Ok(folder.id);
            }
            let folder = c.insert_folder(&name, &delimiter, now)?;
            c.sql.execute("UPDATE folders SET subscribed = 0 WHERE id = ?1", [folder])?;
            c.record(&PendingOp::CreateFolder { folder, name }, now)?;
            Ok(folder)
        })
    }

    /// Renames a folder and those below it. Renaming INBOX moves its messages to a new folder and leaves INBOX empty
    /// (RFC 3501, section 6.3.5).
    pub fn rename_folder(&mut self, id: FolderId, to: &str, now: i64) -> Result<()> {
        let folder = self.folder(id)?;
        let to = names::fold_inbox(to, &folder.delimiter);
        if folder.name == "INBOX" {
            return self.empty_inbox_into(id, &to, now);
        }
        self.change(|c| {
            names::check(&to, &folder.delimiter)?;
            let below = format!("{}{}", folder.name, folder.delimiter);
            if to.starts_with(&below) && !folder.delimiter.is_empty() {
                return Err(Error::BadFolderName(to));
            }
            for other in c.folders()? {
                let renamed = match other.name.strip_prefix(&below) {
                    _ if other.id == id => to.clone(),
                    Some(rest) if !folder.delimiter.is_empty() => format!("{to}{}{rest}", folder.delimiter),
                    _ => continue,
                };
                if c.folder_by_name(&renamed)?.is_some() {
                    return Err(Error::FolderExists(renamed));
                }
                c.sql.execute("UPDATE folders SET name = ?2 WHERE id = ?1", (other.id, &renamed))?;
            }
            c.touched.folder_list = true;
            c.record(&PendingOp::RenameFolder { folder: id, from: folder.name, to }, now)
        })
    }

    fn empty_inbox_into(&mut self, inbox: FolderId, to: &str, now: i64) -> Result<()> {
        self.change(|c| {
            if c.folder_by_name(to)?.is_some() {
                return Err(Error::FolderExists(to.to_owned()));
            }
            let folder = c.insert_folder(to, &c.delimiter()?, now)?;
            c.record(&PendingOp::CreateFolder { folder, name: to.to_owned() }, now)?;
            let uids: Vec<u32> = crate::messages::in_folder(&c.sql, c.schema, inbox)?.iter().map(|m| m.uid).collect();
            c.transfer(inbox, &uids, folder, true, now)?;
            Ok(())
        })
    }

    /// Deletes a folder with its messages; folders below it stay. [`Error::InboxIsFixed`] for INBOX.
    pub fn delete_folder(&mut self, id: FolderId, now: i64) -> Result<()> {
        self.change(|c| {
            let folder = c.folder(id)?;
            if folder.name == "INBOX" {
                return Err(Error::InboxIsFixed);
            }
            c.remove_folder(id, now)?;
            c.record(&PendingOp::DeleteFolder { folder: id, name: folder.name }, now)
        })
    }

    /// Subscribes to a folder or unsubscribes from it; nothing if it is so already.
    pub fn subscribe(&mut self, id: FolderId, on: bool, now: i64) -> Result<()> {
        self.change(|c| {
            let folder = c.folder(id)?;
            if folder.subscribed != on {
                c.sql.execute("UPDATE folders SET subscribed = ?2 WHERE id = ?1", (id, on))?;
                c.touched.folder_list = true;
                c.record(&PendingOp::Subscribe { folder: id, name: folder.name, on }, now)?;
            }
            Ok(())
        })
    }
}
