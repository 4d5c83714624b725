//! Our local IMAP server and Dovecot, told the same things, must answer the same.
//!
//! Both are given a corpus of odd messages and sequences of commands; their answers are compared as values, so that only what
//! a client could notice counts. Where the two may differ is listed in `docs/dev/local-imap.md`, and here.
#![cfg(unix)]

#[path = "imap_differential/client.rs"]
mod client;
#[path = "imap_differential/corpus.rs"]
mod corpus;
#[path = "imap_differential/outcome.rs"]
mod outcome;
#[path = "imap_differential/random.rs"]
mod random;
#[path = "imap_differential/scripts.rs"]
mod scripts;
#[path = "imap_differential/servers.rs"]
mod servers;
#[path = "imap_differential/value.rs"]
mod value;

use client::{Client, Piece, text};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use servers::{Dovecot, Ours};
use std::collections::BTreeMap;
use value::{Items, Value};

fn append(message: &[u8]) -> client::Command {
    vec![Piece::Text("APPEND INBOX () \" 1-Jan-2026 10:00:00 +0000\" ".into()), Piece::Literal(message.to_vec())]
}

/// FETCH answers by sequence number.
fn fetched(client: &mut Client, command: &str) -> (String, BTreeMap<u32, Items>) {
    let answer = client.run(&text(command));
    let mut messages = BTreeMap::new();
    for line in &answer.untagged {
        let values = value::parse(line);
        if let [Value::Atom(number), Value::Atom(verb), items] = values.as_slice()
            && verb == "FETCH"
        {
            messages.entry(number.parse().unwrap()).or_insert_with(Items::new).extend(value::items(items));
        }
    }
    (answer.verdict().to_owned(), messages)
}

#[test]
fn every_odd_message_looks_the_same() {
    let (ours, mut dovecot) = (Ours::start(), Dovecot::start());
    let (mut a, mut b) = (ours.client(), dovecot.client());
    let corpus = corpus::all();
    for (name, message) in &corpus {
        for client in [&mut a, &mut b] {
            let answer = client.run(&append(message));
            assert_eq!(answer.verdict(), "OK", "{name}: {answer:?}");
        }
    }
    for client in [&mut a, &mut b] {
        client.run(&text("SELECT INBOX"));
    }
    let mut differences = Vec::new();
    for (i, (name, _)) in corpus.iter().enumerate() {
        for item in ITEMS {
            let command = format!("FETCH {} ({item})", i + 1);
            let (x, y) = (fetched(&mut a, &command), fetched(&mut b, &command));
            if x != y && !may_differ(name, item) {
                differences.push(format!("{name}: {item}\n   ours    {x:?}\n   dovecot {y:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

const ITEMS: &[&str] = &[
    "ENVELOPE",
    "BODY",
    "BODYSTRUCTURE",
    "RFC822.SIZE",
    "INTERNALDATE",
    "RFC822.HEADER",
    "BODY.PEEK[]",
    "BODY.PEEK[HEADER]",
    "BODY.PEEK[TEXT]",
    "BODY.PEEK[HEADER.FIELDS (Subject from X-None)]",
    "BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT to)]",
    "BODY.PEEK[1]",
    "BODY.PEEK[1.MIME]",
    "BODY.PEEK[1.HEADER]",
    "BODY.PEEK[1.TEXT]",
    "BODY.PEEK[2]",
    "BODY.PEEK[2.MIME]",
    "BODY.PEEK[2.HEADER]",
    "BODY.PEEK[2.TEXT]",
    "BODY.PEEK[2.HEADER.FIELDS (Subject)]",
    "BODY.PEEK[1.1]",
    "BODY.PEEK[1.2]",
    "BODY.PEEK[2.1]",
    "BODY.PEEK[2.1.MIME]",
    "BODY.PEEK[1.1.1]",
    "BODY.PEEK[1.1.MIME]",
    "BODY.PEEK[1.1.HEADER]",
    "BODY.PEEK[3]",
    "BODY.PEEK[3.MIME]",
    "BODY.PEEK[4]",
    "BODY.PEEK[]<0.10>",
    "BODY.PEEK[]<5.1000000>",
    "BODY.PEEK[]<1000000.10>",
    "BODY.PEEK[TEXT]<3.2>",
    "BODY.PEEK[1]<1.3>",
    "BODY.PEEK[HEADER.FIELDS (SUBJECT)]<2.7>",
];

/// Where we differ from Dovecot on purpose, or where it is Dovecot that is odd.
fn may_differ(message: &str, item: &str) -> bool {
    let structure = matches!(item, "BODY" | "BODYSTRUCTURE");
    match message {
        // Each server makes something else of nonsense; Dovecot says SYNTAX_ERROR.
        "broken addresses" | "dots and spaces in phrases" => item == "ENVELOPE",
        // RFC 5322, 2.2.3: unfolding takes the line ends away and nothing else. Dovecot makes one space of the white space.
        "folded fields" => item == "ENVELOPE",
        "a header cut off in its folding" if item == "ENVELOPE" => true,
        // RFC 3501, 6.4.5: no empty line where the message has none. Dovecot keeps to it only in HEADER.FIELDS.NOT.
        "a header without its empty line" | "no line end at all" | "a header cut off in its folding"
            if item.starts_with("BODY.PEEK[HEADER.FIELDS (") =>
        {
            true
        }
        // Dovecot shows the last subject and the addresses of all fields; we show the first field of a name.
        "repeated fields" => item == "ENVELOPE",
        // Dovecot ignores Content- fields without MIME-Version where the type is the default.
        "a mailing list" => structure,
        // An encoded message is opaque to us (RFC 2046, 5.2.1); Dovecot reads the base64 as a message.
        "an encoded forwarded message" => true,
        // A multipart without a boundary is text to us, so that it can be read; Dovecot shows an empty part.
        "a multipart without a boundary" => true,
        // Only white space may follow a boundary; to Dovecot any line that begins with it is one.
        "spaces after boundaries and text in front" => true,
        // Dovecot joins RFC 2231 continuations, and gives types that are none as they are; to us they are the default.
        "parameters of all kinds" | "types that are none" | "an empty type" => structure,
        // The line end between an inner closing boundary and the outer one belongs to the outer one (RFC 2046, 5.1.1).
        "alternative in related in mixed" | "one boundary begins with another" if item == "BODY.PEEK[1]" => true,
        // To Dovecot, part 1.1 of a part that has none is that part.
        _ => ["[1.1]", "[2.1]", "[1.1.1]", "[1.1.MIME]", "[2.1.MIME]"].iter().any(|part| item.ends_with(part)),
    }
}

#[test]
fn every_script_ends_the_same() {
    let mut differences = Vec::new();
    for (name, script) in scripts::all() {
        let (ours, mut dovecot) = (Ours::start(), Dovecot::start());
        let mut clients = [Pair::new(&ours, &mut dovecot), Pair::new(&ours, &mut dovecot)];
        for (i, scripts::Step { who, command, differs }) in script.iter().enumerate() {
            match clients[*who].run(command) {
                Some(difference) if !differs => {
                    differences.push(format!("{name}, command {}, client {who}: {difference}", i + 1));
                }
                _ => {}
            }
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

/// Two clients on one folder, in turn, with the odd messages: the same commands, found by chance from a seed, end the same. To try
/// others: `IMAP_SEED=7 cargo nextest run --test imap_differential random`.
#[test]
fn random_commands_end_the_same() {
    let seeds = std::env::var("IMAP_SEED").map_or(vec![1, 2, 3], |seed| vec![seed.parse().unwrap()]);
    for seed in seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let (ours, mut dovecot) = (Ours::start(), Dovecot::start());
        let mut clients = [Pair::new(&ours, &mut dovecot), Pair::new(&ours, &mut dovecot)];
        clients[0].run(&text("CREATE other"));
        // Those whose envelope and structure both servers agree on.
        let agreed = |name: &str| {
            !["ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[1]", "BODY.PEEK[HEADER.FIELDS (X)]"]
                .iter()
                .any(|item| may_differ(name, item))
        };
        let corpus: Vec<_> =
            corpus::all().into_iter().filter(|(name, message)| agreed(name) && message.len() < 5_000).collect();
        for (i, (_, message)) in corpus.iter().enumerate().filter(|(i, _)| i % 3 == seed as usize % 3) {
            let text = format!("APPEND INBOX \"{:02}-Jan-2026 10:00:00 +0000\" ", i % 28 + 1);
            clients[0].run(&vec![Piece::Text(text), Piece::Literal(message.clone())]);
        }
        for pair in &mut clients {
            pair.run(&text("SELECT INBOX"));
        }
        for step in 0..150 {
            let who = rng.random_range(0..2);
            clients[who].noop();
            let command = random::command(&mut rng, clients[who].ours.1);
            if let Some(difference) = clients[who].run_loosely(&command) {
                panic!("seed {seed}, step {step}, client {who}: {difference}");
            }
            if step % 10 == 9 {
                for pair in &mut clients {
                    pair.noop();
                    let difference = pair.run_loosely("UID FETCH 1:* (FLAGS RFC822.SIZE)");
                    assert_eq!(difference, None, "seed {seed}, after step {step}, {command}");
                }
            }
        }
    }
}

/// A client at each server, told the same.
struct Pair {
    ours: (Client, usize),
    dovecot: (Client, usize),
}

impl Pair {
    fn new(ours: &Ours, dovecot: &mut Dovecot) -> Pair {
        Pair { ours: (ours.client(), 0), dovecot: (dovecot.client(), 0) }
    }

    /// What differs.
    fn run(&mut self, command: &client::Command) -> Option<String> {
        let shown = client::shown(command);
        if shown.starts_with("SELECT") || shown.starts_with("EXAMINE") {
            (self.ours.1, self.dovecot.1) = (0, 0);
        }
        let (x, y) = (self.ours.0.run(command), self.dovecot.0.run(command));
        let a = outcome::outcome(&shown, &x, &mut self.ours.1);
        let b = outcome::outcome(&shown, &y, &mut self.dovecot.1);
        (a != b).then(|| format!("{shown}\n   ours    {a:?} {}\n   dovecot {b:?} {}", x.tagged, y.tagged))
    }

    /// Both hear of everything.
    fn noop(&mut self) {
        self.run(&text("NOOP"));
        assert_eq!(self.ours.1, self.dovecot.1, "they see as many messages");
    }

    /// What differs of all that is not a matter of taste: whether an unchanged message is answered, when RECENT is told.
    fn run_loosely(&mut self, command: &str) -> Option<String> {
        let (x, y) = (self.ours.0.run(&text(command)), self.dovecot.0.run(&text(command)));
        let mut a = outcome::outcome(command, &x, &mut self.ours.1);
        let mut b = outcome::outcome(command, &y, &mut self.dovecot.1);
        for outcome in [&mut a, &mut b] {
            outcome.recent = None;
            outcome.told.clear();
            outcome.code = if outcome.code.starts_with("COPYUID") { outcome.code.clone() } else { String::new() };
            if !command.contains("FETCH") {
                outcome.fetched.clear();
            }
        }
        (a != b).then(|| format!("{command}\n   ours    {a:?} {}\n   dovecot {b:?} {}", x.tagged, y.tagged))
    }
}
