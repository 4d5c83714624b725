//! Makes on the mail server what was changed here, in the order it was changed.
//!
//! Each change may have been made already by a run that was killed before it could note so. Therefore each is such that
//! making it twice is making it once; uploads look for their own message first ([`super::upload`]). A change is finished
//! only after the mail server's answer.

use std::{collections::HashSet, time::Instant};

use mail_store::{Flags, MessageId, Outcome, Pending, PendingOp, Place};

use super::{
    SyncError, Worker,
    trouble::Troubles,
    upload::{self, Placed, Upload},
};
use crate::{
    clock,
    upstream::{command::Command, connection::ImapError},
};

/// Changes that are read from the journal at a time.
const CHUNK: u32 = 1000;

/// What became of a change.
enum Step {
    /// The mail server has it; and under which UID it knows which message by now.
    Done(Vec<(MessageId, u32)>),
    /// It will never take it.
    GivenUp(String),
    /// It does not take it now; why.
    Later(String),
    /// It depends on one that is not done yet, or only a newer version understands it.
    Waits,
}

impl Worker<'_> {
    /// Replays everything that is pending. A change that the server does not take now stays, with those that depend on
    /// it; the others go on.
    pub(super) async fn replay(&mut self) -> Result<(), SyncError> {
        let mut waiting: HashSet<MessageId> = HashSet::new();
        let mut problem = None;
        let mut left = 0u32;
        self.over_quota = None;
        loop {
            let skip = left as usize;
            let pending = self.store.call(move |store| store.pending(CHUNK.saturating_add(skip as u32))).await?;
            let Some(pending) = pending.get(skip..).filter(|rest| !rest.is_empty()) else { break };
            for change in pending {
                let (needs, makes) = messages_of(&change.op);
                let blocked = needs.is_some_and(|message| waiting.contains(&message));
                let step = if blocked { Step::Waits } else { self.step_unless_it_rests(change).await? };
                let outcome = match step {
                    Step::Done(placed) => (Outcome::Done, placed),
                    Step::GivenUp(reason) => {
                        tracing::warn!(seq = change.seq, %reason, "the mail server will not take a change");
                        problem = Some(reason.clone());
                        (Outcome::GivenUp(reason), Vec::new())
                    }
                    Step::Later(reason) => {
                        tracing::warn!(seq = change.seq, %reason, "the mail server does not take a change now");
                        problem = Some(reason);
                        waiting.extend(makes.or(needs));
                        left += 1;
                        continue;
                    }
                    Step::Waits => {
                        waiting.extend(makes.or(needs));
                        left += 1;
                        continue;
                    }
                };
                let (seq, at) = (change.seq, clock::unix());
                self.store
                    .call(move |store| {
                        store.finish_pending(seq, &outcome.0, &outcome.1, at)?;
                        upload::forget(store, seq)
                    })
                    .await?;
            }
        }
        self.progress.problem.send_if_modified(|known| {
            let changed = *known != problem;
            *known = problem;
            changed
        });
        Ok(())
    }

    async fn step_unless_it_rests(&mut self, change: &Pending) -> Result<Step, SyncError> {
        let seq = change.seq;
        if let Some(why) = self.troubles().resting(seq, Instant::now()) {
            return Ok(Step::Later(why.to_owned()));
        }
        self.troubles().begins(seq);
        let step = self.step(change).await?;
        match &step {
            Step::Later(why) if holds_a_message(&change.op) => self.troubles().refused(seq, why, Instant::now()),
            _ => self.troubles().ended(seq),
        }
        Ok(step)
    }

    fn troubles(&self) -> std::sync::MutexGuard<'_, Troubles> {
        super::lock(self.troubles)
    }

    async fn step(&mut self, change: &Pending) -> Result<Step, SyncError> {
        match self.carry_out(change).await {
            Err(SyncError::Imap(ImapError::Refused { command, status })) => {
                let reason = format!("the mail server refused {command}: {}", status.text);
                Ok(match &change.op {
                    // The message is nowhere else: it is never given up.
                    op if holds_a_message(op) => Step::Later(reason),
                    _ if is_temporary(&status.code) => Step::Later(reason),
                    _ => Step::GivenUp(reason),
                })
            }
            other => other,
        }
    }

    async fn carry_out(&mut self, change: &Pending) -> Result<Step, SyncError> {
        match &change.op {
            PendingOp::Flags { place, add, remove } => {
                let Some(uid) = self.open_at(place).await? else {
                    let step = self.without_uid(place).await?;
                    let told = matches!(step, Step::Waits) && self.flags_without_a_folder(place, add, remove).await?;
                    return Ok(if told { Step::Done(vec![]) } else { step });
                };
                let there = self.session.store_flags(uid, '+', &Flags::parse(add)).await?
                    && self.session.store_flags(uid, '-', &Flags::parse(remove)).await?;
                if !there {
                    self.keep_if_marked(place, add).await?;
                }
                Ok(Step::Done(vec![]))
            }
            PendingOp::Expunge { place } => {
                let Some(uid) = self.open_at(place).await? else { return self.without_uid(place).await };
                if self.session.remove(uid).await? {
                    return Ok(Step::Done(vec![]));
                }
                Ok(Step::GivenUp("the mail server cannot remove single messages; it is marked as deleted there".into()))
            }
            PendingOp::Append { message, folder, folder_name, flags, date, body }
            | PendingOp::Copy { message, folder, folder_name, flags, date, body, .. }
            | PendingOp::Move { message, folder, folder_name, flags, date, body, .. } => {
                let upload = Upload {
                    seq: change.seq,
                    message: *message,
                    folder: *folder,
                    folder_name,
                    flags,
                    date: *date,
                    body,
                };
                match &change.op {
                    PendingOp::Copy { from, .. } => self.transfer("COPY", from, &upload).await,
                    PendingOp::Move { from, .. } => self.transfer("MOVE", from, &upload).await,
                    _ => Ok(Step::Done(self.upload(&upload).await?)),
                }
            }
            PendingOp::CreateFolder { name, .. } => self.unless(&Command::new("CREATE").folder(name), name, true).await,
            PendingOp::DeleteFolder { name, .. } => {
                self.unless(&Command::new("DELETE").folder(name), name, false).await
            }
            PendingOp::RenameFolder { from, to, .. } => {
                self.unless(&Command::new("RENAME").folder(from).folder(to), to, true).await
            }
            PendingOp::Subscribe { name, on, .. } => {
                let verb = if *on { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
                self.session.tell(&Command::new(verb).folder(name)).await?;
                Ok(Step::Done(vec![]))
            }
            PendingOp::Unknown => Ok(Step::Waits),
        }
    }

    /// Does something about a folder. Refused is fine if the folder is (`wanted`) or is not there already: then it was
    /// done before.
    async fn unless(&mut self, command: &Command, folder: &str, wanted: bool) -> Result<Step, SyncError> {
        match self.session.tell(command).await {
            Err(refused @ ImapError::Refused { .. }) => {
                if self.session.exists(folder).await? == wanted {
                    Ok(Step::Done(vec![]))
                } else {
                    Err(refused.into())
                }
            }
            other => {
                other?;
                Ok(Step::Done(vec![]))
            }
        }
    }

    /// Copies or moves on the mail server; where the original is gone there, uploads what the user has.
    async fn transfer(&mut self, verb: &str, from: &Place, upload: &Upload<'_>) -> Result<Step, SyncError> {
        if let Some(placed) = self.placed_before(upload).await? {
            // A move may have been cut off between the copy and the removal.
            if verb == "MOVE"
                && let Some(uid) = self.open_at(from).await?
            {
                self.session.remove(uid).await?;
            }
            return Ok(Step::Done(placed));
        }
        if self.open_at(from).await?.is_some() {
            let note = self.mark_begun(upload).await?;
            // The note may have closed the folder, or made the other one.
            let Some(uid) = self.open_at(from).await? else {
                return Ok(Step::Done(self.upload_after_all(upload).await?));
            };
            let moves = verb == "MOVE" && self.session.has("MOVE");
            let has_uidplus = self.session.has("UIDPLUS");
            let there = has_uidplus || !self.session.search(&format!("UID {uid}")).await?.is_empty();
            if there {
                let answer = self.session.transfer(if moves { "MOVE" } else { "COPY" }, uid, upload.folder_name).await;
                let placed = match answer {
                    // The original is gone (RFC 5530): what is here is uploaded.
                    Err(ImapError::Refused { status, .. })
                        if status.code_arguments("EXPUNGEISSUED").is_some()
                            || status.code_arguments("NONEXISTENT").is_some() =>
                    {
                        return Ok(Step::Done(self.upload_after_all(upload).await?));
                    }
                    Err(refused @ ImapError::Refused { .. }) => {
                        self.mark_refused(upload).await?;
                        return Err(refused.into());
                    }
                    other => other?,
                };
                if placed.is_some() || !has_uidplus {
                    let placed = self.placed_at(upload, placed, &note).await?;
                    if verb == "MOVE"
                        && !moves
                        && let Some(uid) = self.open_at(from).await?
                    {
                        self.session.remove(uid).await?;
                    }
                    return Ok(Step::Done(placed));
                }
            }
        }
        Ok(Step::Done(self.upload_after_all(upload).await?))
    }

    /// Uploads what the mail server cannot copy.
    async fn upload_after_all(&mut self, upload: &Upload<'_>) -> Result<Placed, SyncError> {
        self.mark_refused(upload).await?;
        self.upload(upload).await
    }

    /// Opens the folder in which the mail server has a message; gives its UID there. `None` if that is not known.
    async fn open_at(&mut self, place: &Place) -> Result<Option<u32>, SyncError> {
        let (message, folder) = (place.message, place.folder);
        let (mut uid, row) = self
            .store
            .call(move |store| {
                let row = match store.folder(folder) {
                    Err(mail_store::Error::NoSuchFolder(_)) => None,
                    other => Some(other?),
                };
                Ok((store.remote_uid(message)?, row))
            })
            .await?;
        if uid.is_none() {
            return Ok(None);
        }
        let selected = match self.session.select(&place.folder_name).await {
            Ok(selected) => selected,
            // The folder is gone there, and the message with it.
            Err(ImapError::Refused { .. }) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let known = row.as_ref().map_or(place.remote_uidvalidity, |row| row.remote_uidvalidity);
        if known != Some(selected.uidvalidity) {
            // All numbers are new: the messages are found again by their content.
            let Some(row) = row else { return Ok(None) };
            self.folder(&row, false).await?;
            uid = self.store.call(move |store| store.remote_uid(message)).await?;
            self.session.select(&place.folder_name).await?;
        }
        Ok(uid)
    }

    /// What a change means whose message has no number on the mail server: it is not there yet, or never will be.
    async fn without_uid(&mut self, place: &Place) -> Result<Step, SyncError> {
        let message = place.message;
        let still_here = self
            .store
            .call(move |store| match store.message(message) {
                Ok(message) => Ok(!message.local_only),
                Err(mail_store::Error::NoSuchMessage(_)) => Ok(false),
                Err(e) => Err(e),
            })
            .await?;
        // Still here: its upload told no number (no UIDPLUS), so it waits for its folder to be looked at.
        Ok(if still_here { Step::Waits } else { Step::Done(vec![]) })
    }
}

/// Whether a change brings a message that may be nowhere else.
fn holds_a_message(op: &PendingOp) -> bool {
    matches!(op, PendingOp::Append { .. } | PendingOp::Copy { .. } | PendingOp::Move { .. })
}

/// The message that a change needs, and the one that it makes.
fn messages_of(op: &PendingOp) -> (Option<MessageId>, Option<MessageId>) {
    match op {
        PendingOp::Flags { place, .. } | PendingOp::Expunge { place } => (Some(place.message), None),
        PendingOp::Append { message, .. } => (None, Some(*message)),
        PendingOp::Copy { from, message, .. } | PendingOp::Move { from, message, .. } => {
            (Some(from.message), Some(*message))
        }
        _ => (None, None),
    }
}

/// Codes of refusals that another time may not meet (RFC 5530, RFC 9051 section 7.1).
fn is_temporary(code: &str) -> bool {
    let name = code.split(' ').next().unwrap_or_default().to_ascii_uppercase();
    matches!(name.as_str(), "UNAVAILABLE" | "INUSE" | "SERVERBUG" | "OVERQUOTA" | "LIMIT" | "CONTACTADMIN")
}
