//! A message's flags: the system flags (`\Seen` …) and keywords of RFC 3501, section 2.3.2.

use std::collections::BTreeMap;

/// A set of flags. Compared without regard to case, as RFC 3501 asks; shown as first written, system flags in their
/// usual spelling. `\Recent` is a session's affair and never stored.
///
/// Hostile input: at most [`Flags::MAX`] flags of at most [`Flags::MAX_LENGTH`] bytes are kept; the rest is dropped.
#[derive(Clone, Debug, Default)]
pub struct Flags(BTreeMap<String, String>);

impl Flags {
    /// Most flags one message can have.
    pub const MAX: usize = 64;
    /// Longest flag in bytes.
    pub const MAX_LENGTH: usize = 128;

    /// No flags.
    pub fn new() -> Flags {
        Flags::default()
    }

    /// Reads flags separated by spaces, as [`Flags::to_text`] writes them and as an IMAP flag list has them (without
    /// its parentheses).
    pub fn parse(text: &str) -> Flags {
        text.split_ascii_whitespace().collect()
    }

    /// The flags separated by single spaces, sorted without regard to case: `\Seen work`.
    pub fn to_text(&self) -> String {
        self.iter().collect::<Vec<_>>().join(" ")
    }

    /// Adds one flag; false if it was there, is `\Recent`, is not a flag at all or there are too many.
    pub fn insert(&mut self, flag: &str) -> bool {
        let key = flag.to_ascii_lowercase();
        if key == "\\recent" || !is_flag(flag) || self.0.len() >= Self::MAX || self.0.contains_key(&key) {
            return false;
        }
        let shown = SYSTEM.iter().find(|s| s.eq_ignore_ascii_case(flag)).map_or(flag, |s| s);
        self.0.insert(key, shown.to_owned());
        true
    }

    /// Removes one flag; false if it was not there.
    pub fn remove(&mut self, flag: &str) -> bool {
        self.0.remove(&flag.to_ascii_lowercase()).is_some()
    }

    /// Whether the flag is set, in any case.
    pub fn contains(&self, flag: &str) -> bool {
        self.0.contains_key(&flag.to_ascii_lowercase())
    }

    /// The flags as shown, sorted without regard to case.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }

    /// Whether there is no flag.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many flags there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The flags that are here and not in `other`.
    pub fn minus(&self, other: &Flags) -> Flags {
        Flags(
            self.0.iter().filter(|(key, _)| !other.0.contains_key(*key)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        )
    }

    /// The flags of both.
    pub fn plus(&self, other: &Flags) -> Flags {
        self.iter().chain(other.iter()).collect()
    }
}

impl PartialEq for Flags {
    fn eq(&self, other: &Flags) -> bool {
        self.0.keys().eq(other.0.keys())
    }
}

impl Eq for Flags {}

impl<S: AsRef<str>> FromIterator<S> for Flags {
    fn from_iter<I: IntoIterator<Item = S>>(flags: I) -> Flags {
        let mut set = Flags::new();
        for flag in flags {
            set.insert(flag.as_ref());
        }
        set
    }
}

const SYSTEM: [&str; 5] = ["\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"];

/// An atom of RFC 3501, with at most one leading backslash.
fn is_flag(flag: &str) -> bool {
    let atom = flag.strip_prefix('\\').unwrap_or(flag);
    !atom.is_empty()
        && flag.len() <= Flags::MAX_LENGTH
        && atom
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_does_not_matter_and_system_flags_get_their_usual_spelling() {
        let flags = Flags::parse("\\SEEN Work work \\Recent");
        assert_eq!(flags.to_text(), "\\Seen Work");
        assert_eq!(flags, Flags::parse("WORK \\seen"));
        assert!(flags.contains("wOrK"));
    }

    #[test]
    fn what_is_no_flag_is_dropped() {
        assert_eq!(Flags::from_iter(["a b", "", "\\", "x\r\ny", "(", "ok"]).to_text(), "ok");
    }

    proptest! {
        #[test]
        fn text_round_trips(words in proptest::collection::vec("[\\\\]?[!-~]{1,12}", 0..10)) {
            let flags: Flags = words.iter().collect();
            prop_assert_eq!(Flags::parse(&flags.to_text()).to_text(), flags.to_text());
        }

        #[test]
        fn minus_and_plus_undo_each_other(a in "[a-e ]{0,8}", b in "[a-e ]{0,8}") {
            let (a, b) = (Flags::parse(&a), Flags::parse(&b));
            prop_assert_eq!(a.minus(&b).plus(&b), a.plus(&b));
            prop_assert!(a.minus(&a).is_empty());
        }
    }
}
