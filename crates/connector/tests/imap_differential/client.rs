//! A plain IMAP client for either server.

use std::io::{BufRead, BufReader, Read, Write};

/// A piece of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Literal(Vec<u8>),
}

/// A command without its tag.
pub type Command = Vec<Piece>;

pub fn text(text: impl Into<String>) -> Command {
    vec![Piece::Text(text.into())]
}

/// A command for people.
pub fn shown(command: &Command) -> String {
    command
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Literal(bytes) => {
                format!("{{{}}} {:?}", bytes.len(), String::from_utf8_lossy(&bytes[..bytes.len().min(60)]))
            }
        })
        .collect()
}

/// A tagged answer and the untagged ones before it, whole lines with their literals.
#[derive(Debug)]
pub struct Answer {
    pub untagged: Vec<Vec<u8>>,
    pub tagged: String,
}

impl Answer {
    /// `OK`, `NO` or `BAD`.
    pub fn verdict(&self) -> &str {
        self.tagged.split(' ').nth(1).unwrap_or_default()
    }
}

pub struct Client {
    reader: BufReader<Box<dyn Read>>,
    writer: Box<dyn Write>,
    tags: u32,
}

impl Client {
    pub fn new(reader: Box<dyn Read>, writer: Box<dyn Write>) -> Client {
        let mut client = Client { reader: BufReader::new(reader), writer, tags: 0 };
        let greeting = client.response();
        assert!(
            greeting.starts_with(b"* OK") || greeting.starts_with(b"* PREAUTH"),
            "{}",
            String::from_utf8_lossy(&greeting)
        );
        client
    }

    /// Sends a command, its literals when the server asks for them, and reads to its tagged answer.
    pub fn run(&mut self, command: &Command) -> Answer {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} ").as_bytes());
        let mut untagged = Vec::new();
        for piece in command {
            match piece {
                Piece::Text(text) => self.send(text.as_bytes()),
                Piece::Literal(literal) => {
                    self.send(format!("{{{}}}\r\n", literal.len()).as_bytes());
                    if let Some(refused) = self.read(&tag, true, &mut untagged) {
                        return Answer { untagged, tagged: refused };
                    }
                    self.send(literal);
                }
            }
        }
        self.send(b"\r\n");
        let tagged = self.read(&tag, false, &mut untagged).unwrap();
        Answer { untagged, tagged }
    }

    /// What cannot be sent because the server has gone shows when the answer is read.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.writer.write_all(bytes).and_then(|()| self.writer.flush());
    }

    /// Reads to the tagged answer, or to a request to continue.
    fn read(&mut self, tag: &str, may_continue: bool, untagged: &mut Vec<Vec<u8>>) -> Option<String> {
        loop {
            let response = self.response();
            if response.is_empty() {
                return Some(format!("{tag} CLOSED"));
            }
            if response.starts_with(b"* ") {
                untagged.push(response[2..].to_vec());
            } else if may_continue && response.starts_with(b"+ ") {
                return None;
            } else {
                let tagged = String::from_utf8(response).unwrap().trim_end().to_owned();
                assert!(tagged.starts_with(&format!("{tag} ")), "{tagged} in answer to {tag}");
                return Some(tagged);
            }
        }
    }

    /// One line with its literals; nothing at the end.
    fn response(&mut self) -> Vec<u8> {
        let mut response = Vec::new();
        loop {
            let before = response.len();
            self.reader.read_until(b'\n', &mut response).unwrap();
            if response.len() == before {
                return Vec::new();
            }
            let Some(length) = announced(&response[before..]) else { return response };
            let start = response.len();
            response.resize(start + length, 0);
            self.reader.read_exact(&mut response[start..]).unwrap();
        }
    }
}

fn announced(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = line.iter().rposition(|&b| b == b'{')?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}
