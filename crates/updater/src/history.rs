//! What happened to the products of this PC, kept in a file with a bound: the newest entries, one line of JSON each.
//!
//! Written by the service alone, into its own directory; users get the last entries with `status`, root reads the file.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use protocol::{
    Timestamp, Version,
    device::DeviceState,
    ipc::{Happening, What},
    product::ProductId,
};

use crate::{
    machine::State,
    slots::disk::{Disk, replace_file},
};

/// Entries that are kept; the oldest go first.
pub const MAX_ENTRIES: usize = 500;
/// Entries that every user is shown.
pub const SHOWN: usize = 20;
/// Characters of an entry's reason.
const MAX_WHY: usize = 300;

/// What was last seen of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The active version.
    pub current: Option<Version>,
    /// Where it stood.
    pub state: DeviceState,
    /// In words.
    pub detail: Option<String>,
}

/// What has happened between two looks at a product, `why` being the directive's reason. Pure.
pub fn happened(
    product: &ProductId,
    before: &Seen,
    after: &Seen,
    state: &State,
    why: Option<&str>,
    at: Timestamp,
) -> Option<Happening> {
    let entry = |what, version: Option<Version>, why: &str| {
        let why = why.chars().take(MAX_WHY).collect();
        Some(Happening { at, product: product.clone(), what, version, before: None, why })
    };
    if before == after {
        return None;
    }
    let why = why.unwrap_or_default();
    match state {
        State::RolledBack { version, reason } => {
            let known = before.state == DeviceState::RolledBack && before.current == after.current;
            return if known { None } else { entry(What::RolledBack, Some(version.clone()), reason) };
        }
        // The switch back is told when it is done.
        State::RollingBack { .. } => return None,
        _ => {}
    }
    if before.current != after.current {
        let switched = entry(What::Switched, after.current.clone(), why);
        return switched.map(|s| Happening { before: before.current.clone(), ..s });
    }
    let new = before.state != after.state || before.detail != after.detail;
    match state {
        State::Staged { version } if new => entry(What::Staged, Some(version.clone()), why),
        State::AwaitingConsent { version, .. } if new => entry(What::Asked, Some(version.clone()), why),
        State::Failed { version, reason, .. } if new => entry(What::Failed, Some(version.clone()), reason),
        State::Idle { problem: Some(problem) } if new => entry(What::Refused, None, problem),
        _ => None,
    }
}

/// The file, and what every user is shown of it.
#[derive(Clone)]
pub struct History {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    shown: Vec<Happening>,
    seen: BTreeMap<ProductId, Seen>,
    /// Entries that the disk has refused.
    unwritten: Vec<Happening>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("path", &self.path).finish_non_exhaustive()
    }
}

impl History {
    /// The history kept in `path`. A file that cannot be read is as one that is not there: nothing is decided by it.
    pub fn open(path: PathBuf, disk: Arc<dyn Disk>) -> Self {
        let mut shown = read(&disk.read_file(&path).ok().flatten().unwrap_or_default());
        shown.drain(..shown.len().saturating_sub(SHOWN));
        Self { path, disk, shown, seen: BTreeMap::new(), unwritten: Vec::new() }
    }

    /// What every user is shown, the newest last.
    pub fn shown(&self) -> &[Happening] {
        &self.shown
    }

    /// Looks at a product again; says what is new and not yet in the file.
    pub fn look(
        &mut self,
        product: &ProductId,
        now: Seen,
        state: &State,
        why: Option<&str>,
        at: Timestamp,
    ) -> Option<Happening> {
        let before = self.seen.get(product).cloned().unwrap_or_else(|| self.remembered(product, &now));
        self.seen.insert(product.clone(), now.clone());
        let entry = happened(product, &before, &now, state, why, at)?;
        let same = |e: &&Happening| (e.what, &e.version, &e.why) == (entry.what, &entry.version, &entry.why);
        // An attempt that fails again and again in the same way is told once.
        let last = self.shown.iter().rfind(|e| e.product == *product);
        if entry.what != What::Switched && last.is_some_and(|l| same(&l)) {
            return None;
        }
        self.shown.push(entry.clone());
        let excess = self.shown.len().saturating_sub(SHOWN);
        self.shown.drain(..excess);
        Some(entry)
    }

    /// Takes what is to be written: what is new, and what the disk refused before.
    pub fn take_unwritten(&mut self, new: Vec<Happening>) -> Vec<Happening> {
        let mut all = std::mem::take(&mut self.unwritten);
        all.extend(new);
        all
    }

    /// The disk has refused entries: they are kept, within the file's own bound, for the next time.
    pub fn refused(&mut self, mut entries: Vec<Happening>) {
        entries.drain(..entries.len().saturating_sub(MAX_ENTRIES));
        self.unwritten = entries;
    }

    /// At the first look after a start: a version that is active now and was not when the last entry was written was switched
    /// since then, by an installer or by a service that was killed on the way.
    fn remembered(&self, product: &ProductId, now: &Seen) -> Seen {
        let last =
            self.shown.iter().rfind(|e| e.product == *product && e.what != What::Staged && e.what != What::Asked);
        let current = match last {
            Some(e) if e.what == What::Switched => e.version.clone(),
            _ => now.current.clone(),
        };
        let was_told = last.is_some_and(|e| e.what == What::RolledBack) && now.state == DeviceState::RolledBack;
        Seen { current, state: if was_told { DeviceState::RolledBack } else { DeviceState::Idle }, detail: None }
    }

    /// Adds entries to the file, durably. Blocks.
    ///
    /// # Errors
    /// Whatever the disk says; then the file is as it was.
    pub fn write(&self, new: &[Happening]) -> io::Result<()> {
        let mut all = read(&self.disk.read_file(&self.path)?.unwrap_or_default());
        all.extend_from_slice(new);
        let mut text = Vec::new();
        for entry in &all[all.len().saturating_sub(MAX_ENTRIES)..] {
            serde_json::to_writer(&mut text, entry)?;
            text.push(b'\n');
        }
        replace_file(self.disk.as_ref(), &self.path, &text)
    }
}

/// The entries in a history's bytes; lines that are not understood are left out.
pub fn read(bytes: &[u8]) -> Vec<Happening> {
    bytes.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::RealDisk;

    fn v(minor: u64) -> Version {
        Version::new(7, minor, 0)
    }

    fn seen(minor: u64, state: &State) -> Seen {
        Seen { current: Some(v(minor)), state: state.device_state(), detail: state.detail() }
    }

    fn told(history: &mut History, minor: u64, state: &State) -> Option<(What, Option<Version>, Option<Version>)> {
        let at = Timestamp::UNIX_EPOCH;
        let entry = history.look(&ProductId::connector(), seen(minor, state), state, Some("the server flipped"), at)?;
        history.write(std::slice::from_ref(&entry)).unwrap();
        Some((entry.what, entry.version, entry.before))
    }

    #[test]
    fn each_thing_is_told_once_and_outlives_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history.jsonl");
        let open = || History::open(file.clone(), Arc::new(RealDisk));
        let mut history = open();
        let idle = State::default();
        assert_eq!(told(&mut history, 2, &idle), None, "what was there before is no news");
        let staged = State::Staged { version: v(3) };
        assert_eq!(told(&mut history, 2, &staged), Some((What::Staged, Some(v(3)), None)));
        assert_eq!(told(&mut history, 2, &staged), None);
        let confirming = State::Confirming { version: v(3), previous: Some(v(2)), restart: true, doubt: None };
        assert_eq!(told(&mut history, 3, &confirming), Some((What::Switched, Some(v(3)), Some(v(2)))));
        let back = State::RolledBack { version: v(3), reason: "exit 1".into() };
        assert_eq!(told(&mut history, 2, &back), Some((What::RolledBack, Some(v(3)), None)));

        let mut history = open();
        assert_eq!(told(&mut history, 2, &back), None, "a new start tells nothing twice");
        let refused = State::Idle { problem: Some("cannot update: metadata expired".into()) };
        assert_eq!(told(&mut history, 2, &refused), Some((What::Refused, None, None)));
        assert_eq!(read(&std::fs::read(&file).unwrap()).len(), 4);
        assert_eq!(history.shown().len(), 4);
    }

    #[test]
    fn what_an_installer_did_while_no_service_ran_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history.jsonl");
        let idle = State::default();
        let mut history = History::open(file.clone(), Arc::new(RealDisk));
        told(&mut history, 2, &idle);
        told(&mut history, 3, &idle);
        let mut history = History::open(file, Arc::new(RealDisk));
        assert_eq!(told(&mut history, 4, &idle), Some((What::Switched, Some(v(4)), Some(v(3)))));
    }

    #[test]
    fn the_file_has_a_bound_and_a_damaged_line_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history.jsonl");
        let history = History::open(file.clone(), Arc::new(RealDisk));
        let entry = Happening {
            at: Timestamp::UNIX_EPOCH,
            product: ProductId::connector(),
            what: What::Failed,
            version: None,
            before: None,
            why: "x".into(),
        };
        history.write(&vec![entry.clone(); MAX_ENTRIES + 50]).unwrap();
        assert_eq!(read(&std::fs::read(&file).unwrap()).len(), MAX_ENTRIES);
        std::fs::write(&file, [b"{half a line\n".as_slice(), &serde_json::to_vec(&entry).unwrap()].concat()).unwrap();
        assert_eq!(read(&std::fs::read(&file).unwrap()), [entry]);
    }
}
