//! What must hold whatever happens in whatever order: UIDs and MODSEQs only grow, whoever replays `changes_since` has the folder, and a
//! local change has its journal row while a remote one has none.

use mail_store::{
    Delivered, FlagChange, Flags, FolderId, Message, Outcome, PendingOp, RemoteMessage, Schema, SearchFields, Store,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Clone, Debug)]
enum Step {
    Append { folder: usize, body: u8, flags: u8 },
    Flags { folder: usize, pick: usize, change: u8, flags: u8 },
    Expunge { folder: usize },
    Transfer { from: usize, pick: usize, to: usize, moving: bool },
    RemoteNew { folder: usize, uid: u32, body: u8, flags: u8 },
    RemoteFlags { folder: usize, pick: usize, flags: u8 },
    RemoteGone { folder: usize, pick: usize },
    Restart { folder: usize, uidvalidity: u32 },
    Finish { uid: u32 },
    Collect,
    Reopen { program: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let folder = 0usize..2;
    prop_oneof![
        (folder.clone(), 0u8..4, any::<u8>()).prop_map(|(folder, body, flags)| Step::Append { folder, body, flags }),
        (folder.clone(), any::<usize>(), 0u8..3, any::<u8>()).prop_map(|(folder, pick, change, flags)| Step::Flags {
            folder,
            pick,
            change,
            flags
        }),
        folder.clone().prop_map(|folder| Step::Expunge { folder }),
        (folder.clone(), any::<usize>(), folder.clone(), any::<bool>())
            .prop_map(|(from, pick, to, moving)| Step::Transfer { from, pick, to, moving }),
        (folder.clone(), 1u32..9, 0u8..4, any::<u8>()).prop_map(|(folder, uid, body, flags)| Step::RemoteNew {
            folder,
            uid,
            body,
            flags
        }),
        (folder.clone(), any::<usize>(), any::<u8>()).prop_map(|(folder, pick, flags)| Step::RemoteFlags {
            folder,
            pick,
            flags
        }),
        (folder.clone(), any::<usize>()).prop_map(|(folder, pick)| Step::RemoteGone { folder, pick }),
        (folder, 1u32..3).prop_map(|(folder, uidvalidity)| Step::Restart { folder, uidvalidity }),
        (100u32..200).prop_map(|uid| Step::Finish { uid }),
        Just(Step::Collect),
        (0usize..3).prop_map(|program| Step::Reopen { program }),
    ]
}

fn flags(bits: u8) -> Flags {
    let all = ["\\Seen", "\\Deleted", "\\Flagged", "work"];
    all.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, f)| *f).collect()
}

fn body(n: u8) -> Vec<u8> {
    format!("Subject: {n}\r\n\r\nbody {n}\r\n").into_bytes()
}

fn header_of(body: &[u8]) -> usize {
    body.windows(4).position(|w| w == b"\r\n\r\n").map_or(body.len(), |i| i + 4)
}

/// A client that only ever asks `changes_since`.
#[derive(Default)]
struct Follower {
    modseq: u64,
    messages: BTreeMap<u32, Message>,
    highest_uid: u32,
}

impl Follower {
    fn catch_up(&mut self, store: &Store, folder: FolderId) {
        let changes = store.changes_since(folder, self.modseq).unwrap();
        assert!(changes.modseq >= self.modseq, "HIGHESTMODSEQ went back");
        for uid in &changes.vanished {
            self.messages.remove(uid);
        }
        for message in changes.changed {
            assert!(message.modseq > self.modseq && message.modseq <= changes.modseq);
            if let Some(before) = self.messages.get(&message.uid) {
                assert!(message.modseq > before.modseq, "a change without a greater MODSEQ");
                assert_eq!((message.body, message.size, message.date), (before.body, before.size, before.date));
            } else {
                assert!(message.uid > self.highest_uid, "UID {} after {}", message.uid, self.highest_uid);
            }
            self.messages.insert(message.uid, message);
        }
        self.highest_uid = self.messages.keys().max().copied().unwrap_or(0).max(self.highest_uid);
        self.modseq = changes.modseq;
        let now = store.messages(folder).unwrap();
        let seen = |m: &Message| (m.uid, m.flags.to_text(), m.modseq, m.body);
        assert_eq!(self.messages.values().map(seen).collect::<Vec<_>>(), now.iter().map(seen).collect::<Vec<_>>());
        let folder = store.folder(folder).unwrap();
        assert!(folder.uidnext > self.highest_uid);
    }
}

fn picked(store: &Store, folder: FolderId, pick: usize) -> Option<Message> {
    let messages = store.messages(folder).unwrap();
    (!messages.is_empty()).then(|| messages[pick % messages.len()].clone())
}

/// Which version's program has the store.
#[derive(Clone, Copy, Debug)]
enum Programs {
    /// One, whose file is its own.
    Only(Schema),
    /// All of them in turn, in whatever order: upgrades and rollbacks.
    InTurn,
}

impl Programs {
    fn open(self, path: &Path, program: usize) -> Store {
        let schema = match self {
            Programs::Only(schema) => schema,
            Programs::InTurn => Schema::ALL[program],
        };
        let store = Store::open_limited(path, schema, &mut |_| {}).unwrap();
        assert_eq!(store.schema(), schema);
        store
    }
}

fn run(steps: Vec<Step>, programs: Programs) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    let mut store = programs.open(&path, 0);
    let inbox = store.folder_by_name("inbox").unwrap().unwrap().id;
    let other = store.create_folder("Other", 1).unwrap();
    let folders = [inbox, other];
    let mut followers = [Follower::default(), Follower::default()];
    for (i, step) in steps.into_iter().enumerate() {
        let now = i as i64 + 10;
        let pending = store.pending_count().unwrap();
        let mut local_changes = Some(0);
        match step {
            Step::Append { folder, body: b, flags: f } => {
                store.append(folders[folder], &body(b), &flags(f), now, now).unwrap();
                local_changes = Some(1);
            }
            Step::Flags { folder, pick, change, flags: f } => {
                let Some(message) = picked(&store, folders[folder], pick) else { continue };
                let change = match change {
                    0 => FlagChange::Set(flags(f)),
                    1 => FlagChange::Add(flags(f)),
                    _ => FlagChange::Remove(flags(f)),
                };
                let (after, _) = store.change_flags(folders[folder], &[message.uid], &change, None, now).unwrap();
                local_changes = Some(u64::from(after[0].flags != message.flags));
            }
            Step::Expunge { folder } => {
                let gone = store.expunge(folders[folder], None, now).unwrap();
                local_changes = Some(gone.len() as u64);
            }
            Step::Transfer { from, pick, to, moving } => {
                let Some(message) = picked(&store, folders[from], pick) else { continue };
                let uids = [message.uid];
                let map = match moving {
                    true => store.move_messages(folders[from], &uids, folders[to], now).unwrap(),
                    false => store.copy(folders[from], &uids, folders[to], now).unwrap(),
                };
                assert_eq!(map[0].from, message.uid);
                let copy = &store.messages_by_uid(folders[to], &[map[0].to]).unwrap()[0];
                assert_eq!((copy.body, &copy.flags, copy.date), (message.body, &message.flags, message.date));
                local_changes = Some(1);
            }
            Step::RemoteNew { folder, uid, body: b, flags: f } => {
                let (bytes, flags) = (body(b), flags(f));
                let remote = RemoteMessage { uid, flags: &flags, date: now, body: &bytes };
                let known = store.known_remote(folders[folder]).unwrap();
                let delivered = store.apply_remote_messages(folders[folder], &[remote]).unwrap()[0];
                match delivered {
                    Delivered::Known(_) => assert!(known.here.contains_key(&uid)),
                    Delivered::Leaving => assert!(known.leaving.contains(&uid)),
                    Delivered::New(id) | Delivered::Adopted(id) => {
                        assert_eq!(store.message(id).unwrap().remote_uid, Some(uid));
                    }
                }
            }
            Step::RemoteFlags { folder, pick, flags: f } => {
                let Some(uid) = picked(&store, folders[folder], pick).and_then(|m| m.remote_uid) else { continue };
                store.apply_remote_flags(folders[folder], &[(uid, flags(f))]).unwrap();
                assert_eq!(store.apply_remote_flags(folders[folder], &[(uid, flags(f))]).unwrap(), 0, "not idempotent");
            }
            Step::RemoteGone { folder, pick } => {
                let Some(uid) = picked(&store, folders[folder], pick).and_then(|m| m.remote_uid) else { continue };
                assert_eq!(store.apply_remote_gone(folders[folder], &[uid], now).unwrap(), 1);
            }
            Step::Restart { folder, uidvalidity } => {
                if store.apply_remote_state(folders[folder], uidvalidity, None, None).unwrap() {
                    assert!(store.known_remote(folders[folder]).unwrap().here.is_empty());
                    store.apply_remote_restart_done(folders[folder], now).unwrap();
                }
            }
            Step::Finish { uid } => {
                let Some(first) = store.pending(1).unwrap().pop() else { continue };
                let placed = match first.op {
                    PendingOp::Append { message, .. }
                    | PendingOp::Copy { message, .. }
                    | PendingOp::Move { message, .. } => {
                        vec![(message, uid)]
                    }
                    _ => vec![],
                };
                store.finish_pending(first.seq, &Outcome::Done, &placed, now).unwrap();
                assert_eq!(store.pending_count().unwrap(), pending - 1);
                local_changes = None;
            }
            Step::Collect => {
                store.collect_garbage(now - 5).unwrap();
            }
            Step::Reopen { program } => {
                drop(store);
                store = programs.open(&path, program);
            }
        }
        if let Some(changes) = local_changes {
            assert_eq!(store.pending_count().unwrap() - pending, changes, "journal rows for the step");
        }
        for (folder, follower) in folders.iter().zip(&mut followers) {
            // A follower that missed collected tombstones starts anew, as an IMAP client would; one that keeps up never has to.
            follower.catch_up(&store, *folder);
        }
    }
    for message in folders.iter().flat_map(|f| store.messages(*f).unwrap()) {
        let body = store.body(&message.body).unwrap();
        assert_eq!(body.len() as u64, message.size);
        assert_eq!(store.header(&message.body).unwrap(), body[..header_of(&body)]);
        assert_eq!(store.search_fields(&message).unwrap(), SearchFields::of(&body[..header_of(&body)]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn uids_and_modseqs_only_grow_and_changes_tell_everything(
        steps in proptest::collection::vec(step(), 1..50),
        schema in 0usize..3,
    ) {
        run(steps, Programs::Only(Schema::ALL[schema]));
    }

    #[test]
    fn the_same_holds_while_versions_are_upgraded_and_rolled_back(steps in proptest::collection::vec(step(), 1..50)) {
        run(steps, Programs::InTurn);
    }
}
