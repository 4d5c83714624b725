//! Sessions driven without sockets, two at a time on one store.

mod folders;
mod hostile;
mod reading;
mod sessions;
mod writing;

use super::framing::{Frame, Framer};
use super::session::{Next, Session};
use crate::local::Credentials;
use mail_store::{Flags, FolderId, RemoteMessage, Store};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

const NOW: i64 = 1_767_259_800;

/// A store that several clients use.
struct Mailbox {
    _dir: tempfile::TempDir,
    store: Rc<RefCell<Store>>,
    inbox: FolderId,
}

/// A client at the other end of a session.
struct Client {
    store: Rc<RefCell<Store>>,
    session: Session,
    framer: Framer,
    state: Next,
}

impl Mailbox {
    /// INBOX with `n` messages from the mail server, UIDs 1 to n, subjects `message 1` …
    fn with_messages(n: u32) -> Mailbox {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("mail.sqlite")).unwrap();
        let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
        let archive = store.create_folder("Archive", NOW).unwrap();
        store.subscribe(archive, true, NOW).unwrap();
        // Nothing is \Recent, except in the tests about that.
        store.set_meta(&format!("recent:{}", inbox.0), Some(&u32::MAX.to_string())).unwrap();
        let mailbox = Mailbox { _dir: dir, store: Rc::new(RefCell::new(store)), inbox };
        for uid in 1..=n {
            let body = format!("Subject: message {uid}\r\nFrom: Ann <ann@x.org>\r\n\r\nbody {uid}\r\n");
            mailbox.deliver(uid, "", &body);
        }
        mailbox
    }

    fn deliver(&self, uid: u32, flags: &str, body: &str) {
        let flags = Flags::parse(flags);
        let remote = RemoteMessage { uid, flags: &flags, date: NOW + i64::from(uid), body: body.as_bytes() };
        self.store.borrow_mut().apply_remote_messages(self.inbox, &[remote]).unwrap();
    }

    /// A client that has not logged in.
    fn stranger(&self) -> Client {
        let session = Session::new(Arc::new(Credentials::new("alice", "secret")), "7.3.0".into());
        Client {
            store: Rc::clone(&self.store),
            session,
            framer: Framer::new(&crate::local::room::Room::default()),
            state: Next::Command,
        }
    }

    /// A client that has.
    fn client(&self) -> Client {
        let mut client = self.stranger();
        client.ok("LOGIN alice secret");
        client
    }

    /// A client with INBOX selected.
    fn reader(&self) -> Client {
        let mut client = self.client();
        client.ok("SELECT INBOX");
        client
    }
}

impl Client {
    /// Sends bytes and gives all that comes back.
    fn send(&mut self, bytes: impl AsRef<[u8]>) -> String {
        let mut out = Vec::new();
        self.framer.push(bytes.as_ref());
        while let Some(frame) = self.framer.next(self.session.expect()) {
            if frame == Frame::Continue {
                out.extend(b"+ go ahead\r\n");
                continue;
            }
            self.session.begin(frame);
            out.extend(self.steps());
            if self.state == Next::Close {
                break;
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// What an idle client is told now.
    fn wake(&mut self) -> String {
        String::from_utf8_lossy(&self.steps()).into_owned()
    }

    fn steps(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let output = self.session.step(&mut self.store.borrow_mut(), NOW);
            out.extend(output.bytes);
            self.state = output.next;
            if output.next != Next::More {
                return out;
            }
        }
    }

    /// One command; its whole answer.
    fn answer(&mut self, command: &str) -> String {
        self.send(format!("t {command}\r\n"))
    }

    /// One command that must be answered OK; what came before the tagged line.
    fn ok(&mut self, command: &str) -> String {
        let answer = self.answer(command);
        let at = answer.rfind("t OK").unwrap_or_else(|| panic!("{command}: {answer}"));
        assert!(at == 0 || answer[..at].ends_with("\r\n"), "{answer}");
        answer[..at].to_owned()
    }

    /// One command that must be refused; the tagged line.
    fn refused(&mut self, command: &str) -> String {
        let answer = self.answer(command);
        let last = answer.trim_end().lines().last().unwrap_or_default().to_owned();
        assert!(last.starts_with("t NO") || last.starts_with("t BAD"), "{command}: {answer}");
        last
    }
}
