//! The user's mail program at the connector's local servers: plain sockets, so that a test knows to the byte what was
//! acknowledged before the connector died.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// A connection on which lines go to and fro.
pub struct Lines(BufReader<TcpStream>);

impl Lines {
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        let mut lines = Self(BufReader::new(stream));
        lines.line()?;
        Ok(lines)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }
}

/// At the local submission server.
pub struct Smtp(Lines);

impl Smtp {
    /// Logs in; `secret` is base64 of what AUTH PLAIN wants.
    pub fn open(port: u16, secret: &str) -> io::Result<Self> {
        let mut smtp = Self(Lines::open(port)?);
        smtp.ask("EHLO me")?;
        smtp.ask(&format!("AUTH PLAIN {secret}"))?;
        Ok(smtp)
    }

    /// Gives the whole reply.
    pub fn ask(&mut self, line: &str) -> io::Result<String> {
        self.0.write(format!("{line}\r\n").as_bytes())?;
        loop {
            let line = self.0.line()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    /// Submits; gives the reply to the message's end.
    pub fn submit(&mut self, from: &str, to: &str, message: &[u8]) -> io::Result<String> {
        for line in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".into()] {
            let reply = self.ask(&line)?;
            if !reply.starts_with(['2', '3']) {
                return Ok(reply);
            }
        }
        self.0.write(message)?;
        self.ask(".")
    }
}

/// At the local IMAP server.
pub struct Imap(Lines);

impl Imap {
    pub fn open(port: u16, user: &str, password: &str) -> io::Result<Self> {
        let mut imap = Self(Lines::open(port)?);
        imap.ok(&format!("LOGIN {user} {password}"))?;
        Ok(imap)
    }

    /// Sends a command; gives all lines of the answer, the tagged one last. Literals are not looked into.
    pub fn ask(&mut self, command: &str) -> io::Result<Vec<String>> {
        self.0.write(format!("t {command}\r\n").as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.0.line()?;
            let literal = line.trim_end().strip_suffix('}').and_then(|l| l.rsplit_once('{')).map(|(_, n)| n.to_owned());
            let last = line.starts_with("t ");
            lines.push(line);
            if let Some(length) = literal.and_then(|n| n.parse::<usize>().ok()) {
                let mut bytes = vec![0; length];
                self.0.0.read_exact(&mut bytes)?;
                lines.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            if last {
                return Ok(lines);
            }
        }
    }

    /// As [`Imap::ask`], and the answer must be OK.
    pub fn ok(&mut self, command: &str) -> io::Result<Vec<String>> {
        let answer = self.ask(command)?;
        if answer.last().is_some_and(|last| last.starts_with("t OK")) {
            return Ok(answer);
        }
        Err(io::Error::other(format!("{command}: {answer:?}")))
    }

    pub fn append(&mut self, folder: &str, flags: &str, message: &[u8]) -> io::Result<String> {
        self.0.write(format!("t APPEND {folder} ({flags}) {{{}+}}\r\n", message.len()).as_bytes())?;
        self.0.write(message)?;
        self.0.write(b"\r\n")?;
        Ok(self.answer()?.pop().unwrap_or_default())
    }

    /// The UID of the message with this subject in the open folder.
    pub fn uid(&mut self, subject: &str) -> io::Result<String> {
        let found = self.ok(&format!("UID SEARCH HEADER Subject {subject}"))?;
        let uid = found.iter().find_map(|l| l.strip_prefix("* SEARCH ")).and_then(|l| l.split_whitespace().next());
        uid.map(str::to_owned).ok_or_else(|| io::Error::other(format!("no {subject}")))
    }

    /// Subject and whether it is flagged of each message of a folder, sorted.
    pub fn contents(&mut self, folder: &str) -> io::Result<Vec<(String, bool)>> {
        let opened = self.ok(&format!("EXAMINE {folder}"))?;
        if opened.iter().any(|line| line.starts_with("* 0 EXISTS")) {
            return Ok(vec![]);
        }
        let lines = self.ok("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")?;
        let (mut all, mut flagged) = (Vec::new(), false);
        for line in lines {
            if line.starts_with("* ") {
                flagged = line.contains("\\Flagged");
            } else if let Some(subject) = line.strip_prefix("Subject: ") {
                all.push((subject.trim().to_owned(), flagged));
            }
        }
        all.sort();
        Ok(all)
    }

    /// The names of all folders.
    pub fn folders(&mut self) -> io::Result<Vec<String>> {
        let lines = self.ok("LIST \"\" *")?;
        let name = |line: &String| {
            let name = line.strip_prefix("* LIST ")?.trim_end().rsplit(' ').next()?;
            Some(name.trim_matches('"').to_owned())
        };
        Ok(lines.iter().filter_map(name).collect())
    }
}
