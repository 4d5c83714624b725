//! On a disk of a few megabytes that is really full.

use crate::mailbox::seen;
use crate::open;
use mail_store::{Error, Flags, RemoteMessage, Schema, Store};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new(bytes: u64) -> Disk {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"])
            .arg(dir.path())
            .status();
        assert!(mount.is_ok_and(|status| status.success()), "this test mounts a small file system, so it needs root");
        Disk { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mail.sqlite")
    }

    fn filler(&self) -> PathBuf {
        self.dir.path().join("filler")
    }

    /// Leaves nothing free.
    fn fill_up(&self) {
        let _full = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(self.filler()).unwrap());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.dir.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// A store of 7.1 with this many small messages, made elsewhere.
fn store_of_7_1(path: &Path, messages: u32) -> String {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("mail.sqlite");
    let mut store = open(&made, Schema::One);
    let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
    let bodies: Vec<Vec<u8>> =
        (1..=messages).map(|uid| format!("Subject: message {uid}\r\n\r\nshort\r\n").into_bytes()).collect();
    let flags = Flags::parse("\\Seen");
    let all: Vec<RemoteMessage> = (1..)
        .zip(&bodies)
        .map(|(uid, body)| RemoteMessage { uid, flags: &flags, date: 0, body: body.as_slice() })
        .collect();
    store.apply_remote_messages(inbox, &all).unwrap();
    let before = seen(&store);
    drop(store);
    std::fs::copy(&made, path).unwrap();
    before
}

#[test]
fn too_full_for_the_migration_it_says_how_much_is_needed_and_the_store_stays_usable_as_it_is() {
    let disk = Disk::new(4 * 1024 * 1024);
    let before = store_of_7_1(&disk.path(), 4_000);
    let mut store = Store::open_limited(&disk.path(), Schema::Three, &mut |_| {}).unwrap();
    assert_eq!(store.schema(), Schema::One);
    let error = store.postponed().expect("too little room");
    let Error::NoRoom { needed, free: Some(free), .. } = error else { panic!("{error:?}") };
    assert!(needed > free && *needed > 4_000 * 100, "{needed} of {free}");
    let text = error.to_string();
    assert!(text.contains("4 MB") && text.contains("free some space"), "{text}");
    assert_eq!(seen(&store), before);
    // Mail goes on meanwhile, with this version and with the one before.
    let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
    store.append(inbox, b"Subject: draft\r\n\r\n", &Flags::new(), 1, 1).unwrap();
    let now = seen(&store);
    drop(store);
    assert_eq!(seen(&open(&disk.path(), Schema::One)), now);
}

#[test]
fn a_disk_that_fills_up_in_the_middle_of_a_step_costs_nothing_and_the_next_start_finishes() {
    let disk = Disk::new(12 * 1024 * 1024);
    let before = store_of_7_1(&disk.path(), 6_000);
    let mut filled = false;
    let store = Store::open_limited(&disk.path(), Schema::Three, &mut |progress| {
        if progress.done > 0 && !filled {
            disk.fill_up();
            filled = true;
        }
    })
    .unwrap();
    assert!(filled, "the first step was reached");
    assert_eq!(store.schema(), Schema::One);
    assert!(matches!(store.postponed(), Some(Error::NoRoom { .. })), "{:?}", store.postponed());
    assert_eq!(seen(&store), before);
    drop(store);
    assert_eq!(seen(&open(&disk.path(), Schema::One)), before, "the version before");
    std::fs::remove_file(disk.filler()).unwrap();
    let mut store = open(&disk.path(), Schema::Three);
    assert!(store.postponed().is_none());
    assert_eq!(seen(&store), before);
    // What is only for speed does not take the last room, which mail needs.
    assert!(matches!(store.fill_search(100), Err(Error::NoRoom { .. })));
}
