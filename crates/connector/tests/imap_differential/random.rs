//! Random commands from a seed, such as mail programs send.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

const FLAGS: [&str; 7] = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "$Work", "later"];
const ITEMS: [&str; 12] = [
    "FLAGS",
    "UID",
    "RFC822.SIZE",
    "INTERNALDATE",
    "ENVELOPE",
    "BODYSTRUCTURE",
    "BODY.PEEK[HEADER]",
    "BODY.PEEK[HEADER.FIELDS (SUBJECT DATE)]",
    "BODY.PEEK[TEXT]<0.20>",
    "BODY.PEEK[1]",
    "BODY[]",
    "BODY.PEEK[1.MIME]",
];
const WORDS: [&str; 8] = ["hello", "ann", "x.org", "part", "zzz", "Re", "body", "2"];

/// A command for a client that sees `count` messages.
pub fn command(rng: &mut StdRng, count: usize) -> String {
    if count == 0 {
        return ["NOOP", "SEARCH ALL", "STATUS other (MESSAGES UNSEEN)", "UID SEARCH UNSEEN"]
            .choose(rng)
            .unwrap()
            .to_string();
    }
    let uid = if rng.random_bool(0.4) { "UID " } else { "" };
    let set = if uid.is_empty() { set(rng, count) } else { set(rng, count + 5) };
    match rng.random_range(0..12) {
        0..=3 => {
            let sign = ["+", "-", ""].choose(rng).unwrap();
            let silent = if rng.random_bool(0.3) { ".SILENT" } else { "" };
            let flags = some(rng, &FLAGS).join(" ");
            format!("{uid}STORE {set} {sign}FLAGS{silent} ({flags})")
        }
        4..=6 => format!("{uid}FETCH {set} ({})", some(rng, &ITEMS).join(" ")),
        7..=8 => format!("{uid}SEARCH {}", key(rng, count, 3)),
        9 => format!("{uid}COPY {set} {}", if rng.random_bool(0.3) { "INBOX" } else { "other" }),
        10 => format!("{uid}MOVE {set} other"),
        _ => "EXPUNGE".to_owned(),
    }
}

fn some(rng: &mut StdRng, of: &[&'static str]) -> Vec<&'static str> {
    let number = rng.random_range(1..4);
    let mut chosen: Vec<&str> = (0..number).map(|_| *of.choose(rng).unwrap()).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

fn set(rng: &mut StdRng, most: usize) -> String {
    let one = |rng: &mut StdRng| {
        if rng.random_bool(0.1) { "*".to_owned() } else { rng.random_range(1..=most).to_string() }
    };
    let number = rng.random_range(1..3);
    let ranges: Vec<String> = (0..number)
        .map(|_| if rng.random_bool(0.5) { one(rng) } else { format!("{}:{}", one(rng), one(rng)) })
        .collect();
    ranges.join(",")
}

fn key(rng: &mut StdRng, count: usize, depth: u32) -> String {
    if depth > 0 && rng.random_bool(0.5) {
        return match rng.random_range(0..3) {
            0 => format!("NOT {}", key(rng, count, depth - 1)),
            1 => format!("OR {} {}", key(rng, count, depth - 1), key(rng, count, depth - 1)),
            _ => format!("({} {})", key(rng, count, depth - 1), key(rng, count, depth - 1)),
        };
    }
    let word = WORDS.choose(rng).unwrap();
    let day = rng.random_range(1..28);
    match rng.random_range(0..9) {
        0 => set(rng, count),
        1 => format!("UID {}", set(rng, count + 5)),
        2 => (*["SEEN", "UNSEEN", "FLAGGED", "DELETED", "DRAFT", "ANSWERED", "ALL"].choose(rng).unwrap()).to_owned(),
        3 => format!("KEYWORD {}", ["$work", "LATER"].choose(rng).unwrap()),
        4 => format!("{} {word}", ["SUBJECT", "FROM", "TO", "BODY", "TEXT"].choose(rng).unwrap()),
        5 => format!("HEADER X-None \"{word}\""),
        6 => format!("{} {}", ["LARGER", "SMALLER"].choose(rng).unwrap(), rng.random_range(0..600)),
        7 => format!("{} {day}-Jan-2026", ["BEFORE", "ON", "SINCE"].choose(rng).unwrap()),
        _ => format!("SENTON {day}-Jan-2026"),
    }
}
