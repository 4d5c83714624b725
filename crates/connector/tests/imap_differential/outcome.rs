//! What a client could notice of an answer, without what servers may choose: texts, order, UIDVALIDITY, MODSEQ values.

use super::client::Answer;
use super::value::{self, Items, Value};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: String,
    /// The tagged response code.
    pub code: String,
    pub fetched: BTreeMap<u32, Items>,
    /// Positions before the command of the messages that were expunged.
    pub expunged: BTreeSet<usize>,
    pub exists: Option<u32>,
    pub recent: Option<u32>,
    pub search: Option<Vec<String>>,
    /// LIST and LSUB: name to attributes.
    pub list: BTreeMap<String, BTreeSet<String>>,
    pub status: BTreeMap<String, String>,
    /// FLAGS and untagged response codes.
    pub told: BTreeSet<String>,
}

/// Reads an answer; `count` is the number of messages the client knows of, and is brought up to date.
pub fn outcome(command: &str, answer: &Answer, count: &mut usize) -> Outcome {
    let mut outcome = Outcome { verdict: answer.verdict().to_owned(), ..Outcome::default() };
    if outcome.verdict == "OK" {
        outcome.code = code_of(&answer.tagged).unwrap_or_default();
    }
    if outcome.code == "CLIENTBUG" {
        // Dovecot does not like STATUS of the selected folder; RFC 3501 permits it.
        outcome.code.clear();
    }
    // Which of the messages from before are still there.
    let mut positions: Vec<usize> = (0..*count).collect();
    for line in &answer.untagged {
        if let Some(rest) = line.strip_prefix(b"OK ") {
            let text = String::from_utf8_lossy(rest).into_owned();
            let code = code_of(&format!("* OK {text}"));
            // We always tell it; Dovecot only once somebody has asked for MODSEQs.
            let always = ["SELECT", "EXAMINE"].iter().any(|verb| command.starts_with(verb));
            outcome.told.extend(code.filter(|code| !(always && code == "HIGHESTMODSEQ")));
            continue;
        }
        let values = value::parse(line);
        let [Value::Atom(first), rest @ ..] = values.as_slice() else { panic!("{values:?}") };
        match (first.to_ascii_uppercase().as_str(), rest) {
            ("SEARCH", numbers) => {
                let mut found: Vec<String> = numbers.iter().map(|n| format!("{n:?}")).collect();
                if found.last().is_some_and(|f| f.starts_with("(MODSEQ")) {
                    *found.last_mut().unwrap() = "(MODSEQ)".into();
                }
                outcome.search = Some(found);
            }
            ("LIST" | "LSUB", [Value::List(attributes), _, name]) => {
                let shown: BTreeSet<String> = attributes
                    .iter()
                    .map(|a| format!("{a:?}").to_ascii_lowercase().replace("nonexistent", "noselect"))
                    .filter(|a| ["\\noselect", "\\haschildren", "\\hasnochildren"].contains(&a.as_str()))
                    .collect();
                let before = outcome.list.insert(as_text(name), shown);
                assert!(before.is_none(), "{name:?} listed twice in answer to {command}");
            }
            ("STATUS", [name, Value::List(items)]) => {
                for pair in items.chunks(2) {
                    let item = format!("{:?}", pair[0]).to_ascii_uppercase();
                    let value = match item.as_str() {
                        "UIDVALIDITY" | "HIGHESTMODSEQ" => "some".to_owned(),
                        _ => format!("{:?}", pair[1]),
                    };
                    outcome.status.insert(format!("{} {item}", as_text(name)), value);
                }
            }
            ("FLAGS", [flags]) => {
                outcome.told.insert(format!("FLAGS {:?}", value::flags(flags)));
            }
            ("CAPABILITY" | "ID" | "NAMESPACE" | "ENABLED" | "BYE" | "NO" | "BAD", _) => {}
            (number, [Value::Atom(verb), rest @ ..]) => {
                let number: u32 = number.parse().unwrap_or_else(|_| panic!("{values:?}"));
                match (verb.to_ascii_uppercase().as_str(), rest) {
                    ("EXISTS", []) => {
                        while positions.len() < number as usize {
                            positions.push(usize::MAX);
                        }
                        assert_eq!(positions.len(), number as usize, "EXISTS told of fewer messages after {command}");
                        outcome.exists = Some(number);
                    }
                    ("RECENT", []) => outcome.recent = Some(number),
                    ("EXPUNGE", []) => {
                        outcome.expunged.insert(positions.remove(number as usize - 1));
                    }
                    ("FETCH", [items]) => {
                        assert!((1..=positions.len()).contains(&(number as usize)), "{values:?} after {command}");
                        let mut items = value::items(items);
                        if !command.contains("UID") {
                            items.remove("UID");
                        }
                        outcome.fetched.entry(number).or_default().extend(items);
                    }
                    _ => panic!("{values:?}"),
                }
            }
            _ => panic!("{values:?}"),
        }
    }
    *count = positions.len();
    outcome
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}

/// The response code of a line `TAG OK [CODE …] text`, without values that servers choose.
fn code_of(line: &str) -> Option<String> {
    let inside = line.splitn(3, ' ').nth(2)?.strip_prefix('[')?.split_once(']')?.0;
    let words: Vec<&str> = inside.split(' ').collect();
    Some(match words[0].to_ascii_uppercase().as_str() {
        "PERMANENTFLAGS" => {
            let list = value::parse(&inside.as_bytes()[words[0].len()..]);
            format!("PERMANENTFLAGS {:?}", list.first().map(value::flags))
        }
        // Without the UIDVALIDITY.
        word @ ("APPENDUID" | "COPYUID") => format!("{word} {}", words[2..].join(" ")),
        word @ ("UIDVALIDITY" | "HIGHESTMODSEQ" | "CAPABILITY") => word.to_owned(),
        "NOMODSEQ" => "HIGHESTMODSEQ".into(),
        _ => inside.to_owned(),
    })
}
