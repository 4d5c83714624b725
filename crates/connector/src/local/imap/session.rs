//! One client's session: a state machine from commands to responses, without sockets and clocks.
//!
//! ```text
//!               LOGIN, AUTHENTICATE              SELECT, EXAMINE
//! Unauthenticated ─────────► Authenticated ─────────────────► Selected
//!        │                        │        ◄─────────────────    │
//!        └────── LOGOUT ──────────┴──── LOGOUT ── CLOSE, UNSELECT┘
//! ```
//!
//! The connection calls [`Session::begin`] with each frame, then [`Session::step`] on the store's thread until it says what comes next. Long
//! commands (FETCH, SEARCH) give their answer in pieces, so that neither memory nor other users of the store suffer.

use super::fetch::{FetchJob, Moment};
use super::framing::{Expect, Frame, tag_of};
use super::refusal::Refusal;
use super::search::SearchJob;
use super::selected::Selected;
use super::{mailboxes, search_keys, wire};
use crate::local::Credentials;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::command::{Command, CommandBody};
use imap_codec::imap_types::extensions::enable::CapabilityEnable;
use mail_store::Store;
use std::sync::Arc;
use std::time::Duration;

/// What the server can do; before and after login it is the same.
pub(super) const CAPABILITIES: &str = "IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UIDPLUS UNSELECT MOVE \
     SPECIAL-USE STATUS=SIZE CONDSTORE";

/// Wrong passwords on one connection before it is closed.
const MAX_FAILURES: u32 = 5;

/// What a session does after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Call `step` again.
    More,
    /// Read a command.
    Command,
    /// Read one line (the rest of AUTHENTICATE).
    Line,
    /// Read one line, and meanwhile tell the client what changes.
    Idle,
    /// Close the connection.
    Close,
}

/// What to send, and what then.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    pub(super) next: Next,
    /// Wait before sending: a wrong password costs time.
    pub(super) pause: Option<Duration>,
}

/// A session.
pub(super) struct Session {
    pub(super) credentials: Arc<Credentials>,
    version: Arc<str>,
    pub(super) state: State,
    running: Running,
    pub(super) failures: u32,
    /// Notices the client has not been shown.
    alerts: Vec<String>,
    /// The client has used CONDSTORE (RFC 7162, section 3.1).
    pub(super) condstore: bool,
}

pub(super) enum State {
    Unauthenticated,
    Authenticated,
    Selected(Selected),
}

/// What the next `step` works on.
enum Running {
    Nothing,
    Command(Box<Command<'static>>),
    /// SEARCH of this tag, with UID or not, and its arguments.
    SearchArguments(String, bool, Vec<u8>),
    Refused(String, Refusal),
    Fetch(Box<FetchJob>),
    Search(Box<SearchJob>),
    /// AUTHENTICATE of this tag waits for its line.
    Authenticate(String),
    AuthenticateLine(String, Vec<u8>),
    /// IDLE of this tag.
    Idle(String),
    IdleLine(String, Vec<u8>),
    Overflow,
}

/// How a command ends: done with this text, or the answer comes in pieces or waits for a line.
pub(super) enum Done {
    /// Tagged OK with this text.
    Ok(String),
    Fetch(FetchJob),
    Search(SearchJob),
    Authenticate,
    Idle,
    Logout,
    /// Tagged NO after a pause.
    WrongPassword,
}

impl Done {
    pub(super) fn ok(text: &str) -> Done {
        Done::Ok(text.to_owned())
    }
}

pub(super) type Answer = Result<Done, Refusal>;

impl Session {
    pub(super) fn new(credentials: Arc<Credentials>, version: Arc<str>) -> Session {
        Session {
            credentials,
            version,
            state: State::Unauthenticated,
            running: Running::Nothing,
            failures: 0,
            alerts: Vec::new(),
            condstore: false,
        }
    }

    /// The first line.
    pub(super) fn greeting(&self) -> Vec<u8> {
        format!("* OK [CAPABILITY {CAPABILITIES}] lockstep-connector {} ready\r\n", wire::line(&self.version))
            .into_bytes()
    }

    /// What the framer should look for.
    pub(super) fn expect(&self) -> Expect {
        match self.running {
            Running::Authenticate(_) | Running::Idle(_) => Expect::Line,
            _ => Expect::Command { authenticated: self.is_authenticated() },
        }
    }

    pub(super) fn is_authenticated(&self) -> bool {
        !matches!(self.state, State::Unauthenticated)
    }

    /// The selected folder.
    pub(super) fn selected_folder(&self) -> Option<mail_store::FolderId> {
        match &self.state {
            State::Selected(selected) => Some(selected.folder),
            _ => None,
        }
    }

    /// Shows this notice as an ALERT as soon as the client is logged in and listening.
    pub(super) fn alert(&mut self, text: &str) {
        self.alerts.push(text.to_owned());
    }

    /// Takes the next frame; `step` carries it out.
    pub(super) fn begin(&mut self, frame: Frame) {
        self.running = match (frame, std::mem::replace(&mut self.running, Running::Nothing)) {
            (Frame::Command(bytes), _) => read(&bytes),
            (Frame::Line(line), Running::Authenticate(tag)) => Running::AuthenticateLine(tag, line),
            (Frame::Line(line), Running::Idle(tag)) => Running::IdleLine(tag, line),
            (Frame::TooBig(tag), _) => {
                Running::Refused(tag, Refusal::no("TOOBIG", "too big; messages can have up to 64 MiB"))
            }
            (Frame::NoRoom(tag), _) => Running::Refused(
                tag,
                Refusal::no("LIMIT", "too many big messages are under way at the same time; try again in a moment"),
            ),
            (Frame::Overflow, _) => Running::Overflow,
            (Frame::Line(_) | Frame::Continue, before) => before,
        };
    }

    /// Carries out the frame, or a piece of it. `now` is in Unix seconds.
    pub(super) fn step(&mut self, store: &mut Store, now: i64) -> Output {
        let mut out = Vec::new();
        if !matches!(&self.running, Running::Fetch(job) if job.is_inside_a_message()) {
            self.show_alerts(&mut out);
        }
        match std::mem::replace(&mut self.running, Running::Nothing) {
            Running::Nothing => output(out, Next::Command),
            Running::Overflow => bye(out, "the line is too long"),
            Running::Refused(tag, refusal) => {
                out.extend(refusal.line(&tag).as_bytes());
                output(out, Next::Command)
            }
            Running::Command(command) => {
                let tag = command.tag.inner().to_owned();
                let expunge = may_expunge(&command.body);
                let answer = self.execute(store, now, &tag, command.body, &mut out);
                self.conclude(store, tag, answer, expunge, out)
            }
            Running::SearchArguments(tag, by_uid, arguments) => {
                let answer = self.search(store, &tag, by_uid, &arguments, &mut out);
                self.conclude(store, tag, answer, by_uid, out)
            }
            Running::Fetch(job) => self.continue_fetch(store, now, job, out),
            Running::Search(job) => self.continue_search(store, job, out),
            Running::Authenticate(tag) => {
                self.running = Running::Authenticate(tag);
                output(out, Next::Line)
            }
            Running::AuthenticateLine(tag, line) => {
                let answer = self.plain(&line);
                self.conclude(store, tag, answer, true, out)
            }
            Running::Idle(tag) => {
                self.running = Running::Idle(tag);
                let lost = self.refresh(store, true, &mut out).is_err();
                if lost { bye(out, "the selected folder is gone") } else { output(out, Next::Idle) }
            }
            Running::IdleLine(tag, line) => {
                let done = line.trim_ascii().eq_ignore_ascii_case(b"DONE");
                let answer = if done { Ok(Done::ok("IDLE completed")) } else { Err(Refusal::bad("expected DONE")) };
                self.conclude(store, tag, answer, true, out)
            }
        }
    }

    fn conclude(&mut self, store: &mut Store, tag: String, answer: Answer, expunge: bool, mut out: Vec<u8>) -> Output {
        let (line, next, pause) = match answer {
            Ok(Done::Fetch(job)) => {
                self.running = Running::Fetch(Box::new(job));
                return output(out, Next::More);
            }
            Ok(Done::Search(job)) => {
                self.running = Running::Search(Box::new(job));
                return output(out, Next::More);
            }
            Ok(Done::Authenticate) => {
                self.running = Running::Authenticate(tag);
                out.extend(b"+ \r\n");
                return output(out, Next::Line);
            }
            Ok(Done::Idle) => {
                self.running = Running::Idle(tag);
                out.extend(b"+ idling\r\n");
                return output(out, Next::Idle);
            }
            Ok(Done::Logout) => (format!("* BYE good-bye\r\n{tag} OK LOGOUT completed\r\n"), Next::Close, None),
            Ok(Done::WrongPassword) => {
                self.failures += 1;
                let own = Duration::from_secs(u64::from(self.failures.min(5)));
                let pause = Some(own.max(self.credentials.refused(std::time::Instant::now())));
                let line = Refusal::no("AUTHENTICATIONFAILED", "wrong user name or password").line(&tag);
                if self.failures >= MAX_FAILURES {
                    (format!("{line}* BYE too many wrong passwords\r\n"), Next::Close, pause)
                } else {
                    (line, Next::Command, pause)
                }
            }
            Ok(Done::Ok(text)) => (format!("{tag} OK {text}\r\n"), Next::Command, None),
            Err(refusal) => (refusal.line(&tag), Next::Command, None),
        };
        if next == Next::Command && self.refresh(store, expunge, &mut out).is_err() {
            return bye(out, "the selected folder is gone");
        }
        self.show_alerts(&mut out);
        out.extend(line.as_bytes());
        Output { bytes: out, next, pause }
    }

    fn continue_fetch(&mut self, store: &mut Store, now: i64, mut job: Box<FetchJob>, mut out: Vec<u8>) -> Output {
        let State::Selected(selected) = &mut self.state else { return output(out, Next::Command) };
        let by_uid = job.by_uid;
        match job.step(store, selected, Moment { now, condstore: self.condstore }, &mut out) {
            Ok(false) => {
                self.running = Running::Fetch(job);
                output(out, Next::More)
            }
            Ok(true) => {
                let tag = std::mem::take(&mut job.tag);
                self.conclude(store, tag, job.verdict(), by_uid, out)
            }
            Err(error) => self.conclude(store, std::mem::take(&mut job.tag), Err(error.into()), by_uid, out),
        }
    }

    fn continue_search(&mut self, store: &mut Store, mut job: Box<SearchJob>, mut out: Vec<u8>) -> Output {
        let State::Selected(selected) = &self.state else { return output(out, Next::Command) };
        let by_uid = job.by_uid;
        let tag = job.tag.clone();
        match job.step(store, selected) {
            Ok(false) => {
                self.running = Running::Search(job);
                output(out, Next::More)
            }
            Ok(true) => {
                out.extend(job.result().as_bytes());
                self.conclude(store, tag, Ok(Done::ok("SEARCH completed")), by_uid, out)
            }
            Err(error) => self.conclude(store, tag, Err(error.into()), by_uid, out),
        }
    }

    fn refresh(&mut self, store: &mut Store, expunge: bool, out: &mut Vec<u8>) -> Result<(), mail_store::Error> {
        match &mut self.state {
            State::Selected(selected) => selected.refresh(store, expunge, self.condstore, out),
            _ => Ok(()),
        }
    }

    fn show_alerts(&mut self, out: &mut Vec<u8>) {
        if self.is_authenticated() {
            for text in std::mem::take(&mut self.alerts) {
                out.extend(format!("* OK [ALERT] {}\r\n", wire::line(&text)).as_bytes());
            }
        }
    }

    fn execute(
        &mut self,
        store: &mut Store,
        now: i64,
        tag: &str,
        body: CommandBody<'static>,
        out: &mut Vec<u8>,
    ) -> Answer {
        match body {
            CommandBody::Capability => {
                out.extend(format!("* CAPABILITY {CAPABILITIES}\r\n").as_bytes());
                return Ok(Done::ok("CAPABILITY completed"));
            }
            CommandBody::Noop => return Ok(Done::ok("NOOP completed")),
            CommandBody::Logout => return Ok(Done::Logout),
            CommandBody::Id { .. } => {
                let version = wire::line(&self.version).replace(['"', '\\'], "");
                out.extend(format!("* ID (\"name\" \"lockstep-connector\" \"version\" \"{version}\")\r\n").as_bytes());
                return Ok(Done::ok("ID completed"));
            }
            _ => {}
        }
        match &mut self.state {
            State::Unauthenticated => self.log_in(body),
            State::Authenticated | State::Selected(_) => self.execute_authenticated(store, now, tag, body, out),
        }
    }

    fn execute_authenticated(
        &mut self,
        store: &mut Store,
        now: i64,
        tag: &str,
        body: CommandBody<'static>,
        out: &mut Vec<u8>,
    ) -> Answer {
        match body {
            CommandBody::Select { mailbox, parameters } => self.select(store, &mailbox, &parameters, false, out),
            CommandBody::Examine { mailbox, parameters } => self.select(store, &mailbox, &parameters, true, out),
            CommandBody::Status { mailbox, item_names } => {
                self.want_condstore(store, mailboxes::asks_modseq(&item_names), out)?;
                mailboxes::status(store, &mailbox, &item_names, out)
            }
            CommandBody::Enable { capabilities } => {
                let condstore = capabilities.as_ref().iter().any(|c| matches!(c, CapabilityEnable::CondStore));
                self.want_condstore(store, condstore, out)?;
                out.extend(if condstore { &b"* ENABLED CONDSTORE\r\n"[..] } else { b"* ENABLED\r\n" });
                Ok(Done::ok("ENABLE completed"))
            }
            CommandBody::Idle => Ok(Done::Idle),
            CommandBody::Login { .. } | CommandBody::Authenticate { .. } => Err(Refusal::bad("already logged in")),
            CommandBody::Close => {
                let Selected { folder, read_only, .. } = *self.selected()?;
                if !read_only {
                    store.expunge(folder, None, now)?;
                }
                self.state = State::Authenticated;
                Ok(Done::ok("CLOSE completed"))
            }
            CommandBody::Unselect => {
                self.selected()?;
                self.state = State::Authenticated;
                Ok(Done::ok("UNSELECT completed"))
            }
            CommandBody::Fetch { sequence_set, macro_or_item_names, uid, modifiers } => {
                let (job, uses_condstore) =
                    FetchJob::new(tag, self.selected()?, &sequence_set, macro_or_item_names, uid, &modifiers)?;
                self.want_condstore(store, uses_condstore, out)?;
                Ok(Done::Fetch(job))
            }
            CommandBody::Store { sequence_set, kind, response, flags, uid, modifiers } => {
                self.want_condstore(store, !modifiers.is_empty(), out)?;
                let condstore = self.condstore;
                let change = super::messages::FlagStore { kind, response, flags, by_uid: uid, modifiers };
                change.run(store, self.selected()?, &sequence_set, now, condstore, out)
            }
            CommandBody::Append { mailbox, flags, date, message } => {
                super::messages::append(store, &mailbox, &flags, date, &message, now)
            }
            CommandBody::Copy { sequence_set, mailbox, uid } => {
                super::messages::copy(store, self.selected()?, &sequence_set, &mailbox, uid, now)
            }
            CommandBody::Move { sequence_set, mailbox, uid } => {
                super::messages::move_(store, self.selected()?, &sequence_set, &mailbox, uid, now, out)
            }
            CommandBody::Check => self.selected().map(|_| Done::ok("CHECK completed")),
            CommandBody::Expunge => super::messages::expunge(store, self.selected()?, None, now),
            CommandBody::ExpungeUid { sequence_set } => {
                super::messages::expunge(store, self.selected()?, Some(&sequence_set), now)
            }
            CommandBody::Delete { mailbox } => {
                let deleted = mailboxes::delete(store, &mailbox, now)?;
                if self.selected_folder() == Some(deleted) {
                    self.state = State::Authenticated;
                    out.extend(b"* OK [CLOSED] the selected folder is deleted\r\n");
                }
                Ok(Done::ok("DELETE completed"))
            }
            other => mailboxes::execute(store, now, other, out),
        }
    }

    fn search(&mut self, store: &Store, tag: &str, by_uid: bool, arguments: &[u8], out: &mut Vec<u8>) -> Answer {
        let selected = self.selected()?;
        let criteria = search_keys::parse(arguments, selected)?;
        let by_modseq = criteria.by_modseq;
        let job = SearchJob::new(tag, selected, criteria, by_uid);
        self.want_condstore(store, by_modseq, out)?;
        Ok(Done::Search(job))
    }

    /// From the first CONDSTORE command on, the client is told MODSEQs; if a folder is selected, first of all its highest
    /// (RFC 7162, section 3.1).
    fn want_condstore(&mut self, store: &Store, wanted: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if wanted
            && !std::mem::replace(&mut self.condstore, true)
            && let State::Selected(selected) = &self.state
        {
            let modseq = store.folder(selected.folder)?.modseq;
            out.extend(format!("* OK [HIGHESTMODSEQ {modseq}] highest\r\n").as_bytes());
        }
        Ok(())
    }

    fn selected(&mut self) -> Result<&mut Selected, Refusal> {
        match &mut self.state {
            State::Selected(selected) => Ok(selected),
            _ => Err(Refusal::bad("no folder is selected")),
        }
    }

    fn select(
        &mut self,
        store: &mut Store,
        mailbox: &imap_codec::imap_types::mailbox::Mailbox,
        parameters: &[imap_codec::imap_types::command::SelectParameter],
        read_only: bool,
        out: &mut Vec<u8>,
    ) -> Answer {
        // RFC 3501, 6.3.1: also a SELECT that fails leaves nothing selected.
        if matches!(std::mem::replace(&mut self.state, State::Authenticated), State::Selected(_)) {
            out.extend(b"* OK [CLOSED] the folder before is closed\r\n");
        }
        self.condstore |= mailboxes::select_parameters(parameters)?;
        let selected = mailboxes::select(store, mailbox, read_only, out)?;
        self.state = State::Selected(selected);
        Ok(Done::ok(if read_only { "[READ-ONLY] EXAMINE completed" } else { "[READ-WRITE] SELECT completed" }))
    }
}

/// Reads a whole command.
fn read(bytes: &[u8]) -> Running {
    let tag = tag_of(bytes);
    if tag != "*"
        && let Some((by_uid, arguments)) = search_keys::split(bytes)
    {
        return Running::SearchArguments(tag, by_uid, arguments.to_vec());
    }
    match imap_codec::CommandCodec::default().decode_static(bytes) {
        Ok((_, command)) => Running::Command(Box::new(command)),
        Err(_) => Running::Refused(tag, Refusal::bad("unknown command, or arguments that do not fit it")),
    }
}

/// Commands with sequence numbers must not change them under way (RFC 3501, section 7.4.1).
fn may_expunge(body: &CommandBody) -> bool {
    !matches!(body, CommandBody::Fetch { uid: false, .. } | CommandBody::Store { uid: false, .. })
}

fn output(bytes: Vec<u8>, next: Next) -> Output {
    Output { bytes, next, pause: None }
}

fn bye(mut out: Vec<u8>, why: &str) -> Output {
    out.extend(format!("* BYE {why}\r\n").as_bytes());
    output(out, Next::Close)
}
