//! `cargo xtask bench migrate`: what the upgrade of a mailbox's database costs.
//!
//! One run: a store of 7.1 of the given size, made through the store's own methods; the system's memory of its file is
//! dropped, so that it is read from the disk as after a restart of the PC; then one start of 7.3. A sampler looks at the files all
//! the while. Afterwards messages are read back and compared with what was put in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use mail_store::{BodyId, FolderId, Schema, Store};

use mail_rig::process::must;

use crate::programs::spinner;

/// Messages that are put in with one commit.
const BATCH: usize = 1_000;

const INSERT: &str = "INSERT INTO mail (folder, uid, remote_uid, flags, date, modseq, size, body, header, raw) \
     VALUES (?1, ?2, ?2, '\\Seen', ?2, ?2, ?3, ?4, ?5, ?6)";

/// Every so many messages one is read back.
const READ_BACK: u32 = 97;

/// Prints the figures for each size (bytes).
///
/// # Errors
/// When there is no room on the disk, or a message is not what it was.
pub fn bench(sizes: &[u64], within: Option<&Path>) -> Result<()> {
    let dir = match within {
        Some(within) => tempfile::tempdir_in(within)?,
        None => tempfile::tempdir()?,
    };
    let largest = sizes.iter().copied().max().unwrap_or(0);
    enough_room(dir.path(), largest + largest / 5 + 200_000_000)?;
    println!(
        "{:>9} {:>9}  {:>8} {:>8} {:>8} {:>8}  {:>12} {:>7} {:>12} {:>7}",
        "MB", "messages", "1→2 s", "2→3 s", "start s", "search s", "more bytes", "%", "peak bytes", "%"
    );
    let mut missed = false;
    for &size in sizes {
        let figures = one_run(dir.path(), size)?;
        println!("{}", figures.line());
        missed |= figures.total.as_secs_f64() > 10.0 || figures.percent(figures.peak) > 5.0;
    }
    println!(
        "seconds from a cold cache: the first start of 7.3, and then, in use, until older messages are searched quickly; bytes: database and log together, after and at most, over what they were before; \
         aim at 5 GB: 10 s, 5 %{}",
        if missed { " (missed above)" } else { "" }
    );
    Ok(())
}

/// A size such as `100MB` or `5GB` (decimal) in bytes.
///
/// # Errors
/// When it is none.
pub fn parse_size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => bail!("{text} is no size; say for example 100MB or 5GB"),
    };
    let number: u64 = digits.parse().with_context(|| format!("{text} is no size; say for example 100MB or 5GB"))?;
    Ok(number * unit)
}

struct Figures {
    before: u64,
    messages: u64,
    /// When each of the two steps began.
    marks: Vec<Duration>,
    total: Duration,
    /// What is done while the mailbox is in use.
    search: Duration,
    after: u64,
    peak: u64,
}

impl Figures {
    fn line(&self) -> String {
        let mark = |i: usize| self.marks.get(i).copied().unwrap_or(self.total);
        let step = |i: usize| (mark(i + 1).saturating_sub(mark(i))).as_secs_f64();
        format!(
            "{:>9} {:>9}  {:>8.2} {:>8.2} {:>8.2} {:>8.2}  {:>12} {:>7.2} {:>12} {:>7.2}",
            self.before / 1_000_000,
            self.messages,
            step(0),
            step(1),
            self.total.as_secs_f64(),
            self.search.as_secs_f64(),
            self.after.saturating_sub(self.before),
            self.percent(self.after),
            self.peak.saturating_sub(self.before),
            self.percent(self.peak),
        )
    }

    fn percent(&self, bytes: u64) -> f64 {
        bytes.saturating_sub(self.before) as f64 * 100.0 / self.before as f64
    }
}

fn one_run(dir: &Path, size: u64) -> Result<Figures> {
    let path = dir.join(format!("{size}.sqlite"));
    let bar = spinner(&format!("making a store of 7.1 of {} MB", size / 1_000_000));
    let messages = make(&path, size)?;
    forget(&path)?;
    let before = on_disk(&path);

    bar.set_message(format!("migrating {} MB", size / 1_000_000));
    let (ended, peak) = (AtomicBool::new(false), AtomicU64::new(before));
    let start = Instant::now();
    let mut marks: Vec<Duration> = Vec::new();
    let opened = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(on_disk(&path), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let opened = Store::open_limited(&path, Schema::Three, &mut |progress| {
            while marks.len() < progress.step as usize {
                marks.push(start.elapsed());
            }
        });
        ended.store(true, Ordering::Relaxed);
        opened
    });
    let total = start.elapsed();
    let mut store = opened.context("migrating")?;
    ensure!(store.schema() == Schema::Three, "it was not migrated: {:?}", store.postponed());
    let searching = Instant::now();
    while store.fill_search(200)? {}
    let search = searching.elapsed();
    let after = on_disk(&path);

    bar.set_message("reading back");
    read_back(&store, messages)?;
    drop(store);
    fs::remove_file(&path)?;
    bar.finish_and_clear();
    let peak = peak.into_inner().max(after);
    Ok(Figures { before, messages: messages.into(), marks, total, search, after, peak })
}

/// Gives how many messages it took. The tables are made by the store itself; the rows are put in without its syncing, which
/// only the migration is to pay for.
fn make(path: &Path, size: u64) -> Result<u32> {
    let store = Store::open_limited(path, Schema::One, &mut |_| {})?;
    let inbox = inbox(&store)?;
    drop(store);
    let mut raw = rusqlite::Connection::open(path)?;
    raw.pragma_update(None, "journal_mode", "OFF")?;
    raw.pragma_update(None, "synchronous", "OFF")?;
    let (mut made, mut uid) = (0, 0);
    while made < size {
        let batch = raw.transaction()?;
        let mut insert = batch.prepare_cached(INSERT)?;
        for _ in 0..BATCH {
            uid += 1;
            let message = message(uid);
            let header = message.windows(4).position(|w| w == b"\r\n\r\n").context("no header")? + 4;
            insert.execute((inbox, uid, message.len() as i64, BodyId::of(&message), header as i64, &message))?;
            made += message.len() as u64;
            if made >= size {
                break;
            }
        }
        drop(insert);
        batch.commit()?;
    }
    raw.execute("UPDATE folders SET next_uid = ?2 + 1, modseq = ?2 WHERE id = ?1", (inbox, uid))?;
    raw.pragma_update(None, "journal_mode", "WAL")?;
    Ok(uid)
}

fn inbox(store: &Store) -> Result<FolderId> {
    Ok(store.folder_by_name("INBOX")?.context("no INBOX")?.id)
}

/// A message as people get them: mostly some kilobytes, some with pictures, a few with large attachments; about 75 kB in the
/// mean, with about 2 kB of header.
fn message(uid: u32) -> Vec<u8> {
    let draw = |salt: u32, below: u64| {
        let mixed = ((u64::from(uid) << 8) | u64::from(salt)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) % below
    };
    let size = match draw(1, 100) {
        0..55 => 2_000 + draw(2, 6_000),
        55..85 => 8_000 + draw(2, 32_000),
        85..97 => 40_000 + draw(2, 160_000),
        _ => 300_000 + draw(2, 2_700_000),
    };
    let hop = "Received: from mx.example.org (mx.example.org [192.0.2.7]) by mail.example.test with ESMTPS id 4fX\r\n \
               (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384); Wed, 31 Dec 2025 23:30:00 +0000\r\n";
    let signature = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=2025;\r\n b={}\r\n",
        "hG7kQz0pLmN3".repeat(28)
    );
    let header = format!(
        "{}{signature}From: =?utf-8?q?J=C3=BCrgen?= Example <juergen{uid}@example.org>\r\nTo: Alice <alice@example.test>, \
         Bob <bob@example.test>\r\nCc: team@example.test\r\nSubject: Re: the plans for quarter {uid} of this project\r\n\
         Date: Wed, 31 Dec 2025 23:30:00 +0000\r\nMessage-ID: <{uid}.4711@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n",
        hop.repeat(5)
    );
    let line = format!("{uid:>10} the quick brown fox jumps over the lazy dog, again and again.\r\n");
    let text = line.repeat(size as usize / line.len() + 1);
    (header + &text).into_bytes()
}

fn read_back(store: &Store, messages: u32) -> Result<()> {
    let inbox = inbox(store)?;
    ensure!(store.folder_status(inbox)?.messages == messages, "messages are missing");
    for message_ in store.messages(inbox)?.iter().filter(|m| m.uid % READ_BACK == 1) {
        let uid = message_.remote_uid.context("a message has lost its place on the mail server")?;
        ensure!(store.body(&message_.body)? == message(uid), "message {uid} is not what it was");
        ensure!(BodyId::of(&message(uid)) == message_.body, "message {uid} has another's id");
        ensure!(store.search_fields(message_)?.subject.is_some_and(|s| s.contains(&uid.to_string())), "no subject");
    }
    Ok(())
}

/// Database and log.
fn on_disk(path: &Path) -> u64 {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    [path, &log].into_iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
}

/// Writes the file out, and makes the system forget what it has of it in memory.
fn forget(path: &Path) -> Result<()> {
    must(Command::new("sync").arg(path))?;
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", path.display())).args(["iflag=nocache", "count=0"]).stderr(Stdio::null());
    must(&mut dd).map(drop)
}

fn enough_room(dir: &Path, needed: u64) -> Result<()> {
    let free = must(Command::new("df").args(["--output=avail", "-B1"]).arg(dir))?;
    let free: u64 = free.lines().last().and_then(|line| line.trim().parse().ok()).context("what df says")?;
    println!("needs {} MB in {}, where {} MB are free", needed / 1_000_000, dir.display(), free / 1_000_000);
    ensure!(free > needed, "the disk has too little room; name another folder with --dir");
    Ok(())
}
