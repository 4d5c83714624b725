//! A connection that is logged in, and the commands that the synchronisation needs.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_store::{Flags, RemoteFolder};

use super::{
    command::Command,
    connection::{Connection, ImapError},
    date,
    response::{Condition, Data, Fetched, Response, Status},
};

/// What it takes to log in.
#[derive(Clone)]
pub struct Login {
    /// `host:port`, TLS from the start.
    pub address: String,
    /// Whom to believe.
    pub tls: Arc<rustls::ClientConfig>,
    /// The mail account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The connector's own version, for the ID command.
    pub version: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("address", &self.address).field("user", &self.user).finish_non_exhaustive()
    }
}

/// The folder that is open, as the mail server described it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// Name in UTF-8.
    pub name: String,
    /// UIDVALIDITY.
    pub uidvalidity: u32,
    /// UIDNEXT.
    pub uidnext: Option<u32>,
    /// HIGHESTMODSEQ, where the folder keeps one.
    pub modseq: Option<u64>,
    /// How many messages there are; kept up to date while the folder is open.
    pub exists: u32,
}

/// The counts of a folder that is not open (STATUS).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// UIDVALIDITY.
    pub uidvalidity: u32,
    /// UIDNEXT.
    pub uidnext: Option<u32>,
    /// HIGHESTMODSEQ.
    pub modseq: Option<u64>,
    /// Messages.
    pub messages: u32,
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    selected: Option<Selected>,
}

impl Session {
    /// Connects, says who it is (ID, RFC 2971), and logs in.
    ///
    /// ID comes before the login, so that a mail server can refuse an outdated connector, and nobody else, by it.
    ///
    /// # Errors
    /// [`ImapError`]; `LoginRefused` when the server does not let this user or this connector in.
    pub async fn open(login: &Login) -> Result<Self, ImapError> {
        let mut connection = Connection::open(&login.address, login.tls.clone()).await?;
        know_capabilities(&mut connection).await?;
        let mut said = false;
        if connection.has("ID") {
            say_id(&mut connection, &login.version).await?;
            said = true;
        }
        authenticate(&mut connection, login).await?;
        know_capabilities(&mut connection).await?;
        if !said && connection.has("ID") {
            say_id(&mut connection, &login.version).await?;
        }
        if connection.has("ENABLE") && connection.has("CONDSTORE") {
            connection.tell(&Command::new("ENABLE CONDSTORE"), |_| {}).await?;
        }
        Ok(Self { connection, selected: None })
    }

    /// Whether the server has a capability; upper-case.
    pub fn has(&self, capability: &str) -> bool {
        self.connection.has(capability)
    }

    /// What the server wants to be shown to the user, once.
    pub fn take_alert(&mut self) -> Option<String> {
        self.connection.take_alert()
    }

    /// The folder that is open.
    pub fn selected(&self) -> Option<&Selected> {
        self.selected.as_ref()
    }

    /// All folders, with what the user subscribed to.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn list(&mut self) -> Result<Vec<RemoteFolder>, ImapError> {
        let (mut listed, mut subscribed) = (Vec::new(), Vec::new());
        self.connection
            .tell(&Command::new("LIST \"\" \"*\""), |response| {
                if let Response::Data(Data::List(one)) = response {
                    listed.push(one.clone());
                }
            })
            .await?;
        self.connection
            .tell(&Command::new("LSUB \"\" \"*\""), |response| {
                if let Response::Data(Data::List(one)) = response
                    && !one.attributes.iter().any(|a| a.eq_ignore_ascii_case("\\Noselect"))
                {
                    subscribed.push(one.name.clone());
                }
            })
            .await?;
        let has = |attributes: &[String], name: &str| attributes.iter().any(|a| a.eq_ignore_ascii_case(name));
        let folders = listed.into_iter().filter_map(|one| {
            Some(RemoteFolder {
                name: mail_store::decode_utf7(&one.name)?,
                delimiter: one.delimiter,
                special_use: SPECIAL_USES.iter().find(|use_| has(&one.attributes, use_)).map(|u| u.to_string()),
                subscribed: subscribed.contains(&one.name),
                selectable: !has(&one.attributes, "\\Noselect") && !has(&one.attributes, "\\NonExistent"),
            })
        });
        Ok(folders.collect())
    }

    /// The counts of a folder, without opening it.
    ///
    /// # Errors
    /// [`ImapError`]; `Refused` when there is no such folder.
    pub async fn counts(&mut self, folder: &str) -> Result<Counts, ImapError> {
        let items = if self.has("CONDSTORE") { " HIGHESTMODSEQ" } else { "" };
        let command = Command::new("STATUS").folder(folder).raw(format!(" (MESSAGES UIDVALIDITY UIDNEXT{items})"));
        let mut counts = Counts::default();
        self.connection
            .tell(&command, |response| {
                let Response::Data(Data::Status(_, items)) = response else { return };
                for (name, count) in items {
                    let small = u32::try_from(*count).unwrap_or(u32::MAX);
                    match name.as_str() {
                        "MESSAGES" => counts.messages = small,
                        "UIDVALIDITY" => counts.uidvalidity = small,
                        "UIDNEXT" => counts.uidnext = Some(small),
                        "HIGHESTMODSEQ" => counts.modseq = Some(*count).filter(|m| *m > 0),
                        _ => {}
                    }
                }
            })
            .await?;
        Ok(counts)
    }

    /// Opens a folder; nothing is sent if it is open already.
    ///
    /// # Errors
    /// [`ImapError`]; `Refused` when there is no such folder.
    pub async fn select(&mut self, folder: &str) -> Result<Selected, ImapError> {
        match &self.selected {
            Some(selected) if selected.name == folder => Ok(selected.clone()),
            _ => self.select_anew(folder).await,
        }
    }

    /// Opens a folder, again if it is open already, so that its description is of now.
    ///
    /// # Errors
    /// As [`Session::select`].
    pub async fn select_anew(&mut self, folder: &str) -> Result<Selected, ImapError> {
        self.selected = None;
        let mut selected = Selected { name: folder.to_owned(), ..Selected::default() };
        self.connection
            .tell(&Command::new("SELECT").folder(folder), |response| match response {
                Response::Data(Data::Exists(count)) => selected.exists = *count,
                Response::Untagged(status) => {
                    let number = |code| status.code_arguments(code).and_then(|n| n.parse::<u64>().ok());
                    let small = |code| number(code).and_then(|n| u32::try_from(n).ok());
                    selected.uidvalidity = small("UIDVALIDITY").unwrap_or(selected.uidvalidity);
                    selected.uidnext = small("UIDNEXT").or(selected.uidnext);
                    selected.modseq = number("HIGHESTMODSEQ").filter(|m| *m > 0).or(selected.modseq);
                }
                _ => {}
            })
            .await?;
        self.selected = Some(selected.clone());
        Ok(selected)
    }

    /// Fetches items of messages of the open folder, each given to `see` as it comes. With `changed_since`, only of those
    /// with a higher MODSEQ (RFC 7162).
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn fetch(
        &mut self,
        uids: &str,
        items: &str,
        changed_since: Option<u64>,
        mut see: impl FnMut(&Fetched<'_>) + Send,
    ) -> Result<(), ImapError> {
        let since = changed_since.map(|m| format!(" (CHANGEDSINCE {m})")).unwrap_or_default();
        let command = Command::new(format!("UID FETCH {uids} ({items}){since}"));
        self.in_folder(&command, |response| {
            if let Response::Data(Data::Fetch(fetched)) = response {
                see(fetched);
            }
        })
        .await?;
        Ok(())
    }

    /// The UIDs that a search of the open folder finds, ascending.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn search(&mut self, criteria: &str) -> Result<Vec<u32>, ImapError> {
        let mut uids = Vec::new();
        self.in_folder(&Command::new(format!("UID SEARCH {criteria}")), |response| {
            if let Response::Data(Data::Search(found)) = response {
                uids.extend_from_slice(found);
            }
        })
        .await?;
        uids.sort_unstable();
        Ok(uids)
    }

    /// Adds (`sign` is `+`) or removes (`-`) flags of a message of the open folder. `false` if it is gone.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn store_flags(&mut self, uid: u32, sign: char, flags: &Flags) -> Result<bool, ImapError> {
        if flags.is_empty() {
            return Ok(true);
        }
        // Not silently: of a message that is gone, the server says nothing.
        let command = Command::new(format!("UID STORE {uid} {sign}FLAGS ({})", flags.to_text()));
        let mut there = false;
        self.in_folder(&command, |response| {
            if let Response::Data(Data::Fetch(fetched)) = response {
                there |= fetched.uid == Some(uid);
            }
        })
        .await?;
        Ok(there)
    }

    /// Uploads a message. Gives UIDVALIDITY and UID where the server tells them (UIDPLUS).
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn append(
        &mut self,
        folder: &str,
        flags: &Flags,
        date: i64,
        message: bytes::Bytes,
    ) -> Result<Option<(u32, u32)>, ImapError> {
        let command = Command::new("APPEND")
            .folder(folder)
            .raw(format!(" ({}) \"{}\"", flags.to_text(), date::format(date)))
            .literal(message);
        Ok(self.in_folder(&command, |_| {}).await?.append_uid())
    }

    /// Copies (`verb` is `COPY`) or moves (`MOVE`) a message of the open folder. Gives UIDVALIDITY and the new UID where
    /// the server tells them; a UIDPLUS server that does not has copied nothing.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn transfer(&mut self, verb: &str, uid: u32, to: &str) -> Result<Option<(u32, u32)>, ImapError> {
        let mut placed = None;
        let command = Command::new(format!("UID {verb} {uid}")).folder(to);
        let status = self
            .in_folder(&command, |response| {
                // MOVE tells it before the messages go (RFC 6851), COPY in its answer (RFC 4315).
                if let Response::Untagged(status) = response {
                    placed = placed.or(status.copy_uid());
                }
            })
            .await?;
        Ok(placed.or(status.copy_uid()))
    }

    /// Removes a message of the open folder for good. `false` when the server cannot remove this one alone.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn remove(&mut self, uid: u32) -> Result<bool, ImapError> {
        let mut deleted = Flags::new();
        deleted.insert("\\Deleted");
        self.store_flags(uid, '+', &deleted).await?;
        if self.has("UIDPLUS") {
            self.in_folder(&Command::new(format!("UID EXPUNGE {uid}")), |_| {}).await?;
            return Ok(true);
        }
        // A plain EXPUNGE takes whatever is marked, so nothing else may be.
        let marked = self.search("DELETED").await?;
        if marked.iter().any(|other| *other != uid) {
            return Ok(false);
        }
        self.in_folder(&Command::new("EXPUNGE"), |_| {}).await?;
        Ok(true)
    }

    /// Any other command.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn tell(&mut self, command: &Command) -> Result<Status, ImapError> {
        self.in_folder(command, |_| {}).await
    }

    /// Whether the mail server lists a folder of this name.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn exists(&mut self, folder: &str) -> Result<bool, ImapError> {
        let wire = mail_store::encode_utf7(folder);
        let mut found = false;
        self.in_folder(&Command::new("LIST \"\"").string(&wire), |response| {
            if let Response::Data(Data::List(one)) = response {
                found |= one.name == wire && !one.attributes.iter().any(|a| a.eq_ignore_ascii_case("\\NonExistent"));
            }
        })
        .await?;
        Ok(found)
    }

    /// Waits (IDLE, RFC 2177; else NOOP every half minute) until something changes in the open folder, or `longest`
    /// has gone by; gives whether something changed.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn wait_for_news(&mut self, longest: Duration) -> Result<bool, ImapError> {
        if !self.has("IDLE") {
            tokio::time::sleep(Duration::from_secs(30).min(longest)).await;
            let mut news = false;
            self.connection.tell(&Command::new("NOOP"), |response| news |= is_news(response)).await?;
            return Ok(news);
        }
        let tag = self.connection.begin("IDLE").await?;
        let mut news = false;
        let mut see = |response: &Response<'_>| news |= is_news(response);
        if let Some(status) = self.connection.until(Some(&tag), &mut see).await? {
            return Err(ImapError::Refused { command: "IDLE".into(), status });
        }
        let until = tokio::time::Instant::now() + longest;
        while !news {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            // A sign of life ("* OK Still here") is heard too, and changes nothing.
            if !self.connection.overhear(left, |response| news |= is_news(response)).await? {
                break;
            }
        }
        self.connection.send_line("DONE").await?;
        let mut see = |response: &Response<'_>| news |= is_news(response);
        while self.connection.until(Some(&tag), &mut see).await?.is_none() {}
        Ok(news)
    }

    async fn in_folder(
        &mut self,
        command: &Command,
        mut see: impl FnMut(&Response<'_>) + Send,
    ) -> Result<Status, ImapError> {
        let selected = &mut self.selected;
        self.connection
            .tell(command, |response| {
                if let Some(selected) = selected {
                    match response {
                        Response::Data(Data::Exists(count)) => selected.exists = *count,
                        Response::Data(Data::Expunge(_)) => selected.exists = selected.exists.saturating_sub(1),
                        _ => {}
                    }
                }
                see(response);
            })
            .await
    }
}

/// The special uses of RFC 6154.
const SPECIAL_USES: [&str; 7] = ["\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash"];

fn is_news(response: &Response<'_>) -> bool {
    matches!(response, Response::Data(Data::Exists(_) | Data::Expunge(_) | Data::Fetch(_)))
}

async fn know_capabilities(connection: &mut Connection) -> Result<(), ImapError> {
    if !connection.knows_capabilities() {
        connection.tell(&Command::new("CAPABILITY"), |_| {}).await?;
    }
    Ok(())
}

async fn say_id(connection: &mut Connection, version: &str) -> Result<(), ImapError> {
    let command = Command::new("ID (\"name\" \"lockstep-connector\" \"version\"").string(version).raw(")");
    // A server that has ID and refuses it is odd, and still one to log in to.
    connection.ask(&command, |_| {}).await?;
    Ok(())
}

async fn authenticate(connection: &mut Connection, login: &Login) -> Result<(), ImapError> {
    let before_login = connection.has("AUTH=PLAIN");
    let with_first = connection.has("SASL-IR");
    connection.forget_capabilities();
    let status = if before_login {
        // PLAIN (RFC 4616): authorization id (empty), user, password.
        let secret = STANDARD.encode(format!("\0{}\0{}", login.user, login.password));
        let mut none = |_: &Response<'_>| {};
        let first = if with_first { format!(" {secret}") } else { String::new() };
        let tag = connection.begin(&format!("AUTHENTICATE PLAIN{first}")).await?;
        match connection.until(Some(&tag), &mut none).await? {
            Some(status) => status,
            None => {
                // After an initial response the server wants nothing more; an empty line ends a confused exchange.
                connection.send_line(if with_first { "*" } else { &secret }).await?;
                loop {
                    if let Some(status) = connection.until(Some(&tag), &mut none).await? {
                        break status;
                    }
                    connection.send_line("*").await?;
                }
            }
        }
    } else {
        connection.ask(&Command::new("LOGIN").string(&login.user).string(&login.password), |_| {}).await?
    };
    match status.condition {
        Condition::Ok | Condition::PreAuth => Ok(()),
        _ => Err(ImapError::LoginRefused { alert: status.code_arguments("ALERT").is_some(), text: status.text }),
    }
}
