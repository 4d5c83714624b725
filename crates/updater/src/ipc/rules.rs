//! Which verb is open to whom.

use protocol::ipc::Verb;

/// Whom a verb is open to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Every user of this PC.
    ToAll,
    /// Every user of this PC, now and then.
    ToAllSparingly,
    /// Root, as the kernel shows.
    ToRoot,
    /// Whoever runs the active version's program, as the kernel shows; not even root otherwise.
    ToActiveProgram,
}

/// The table.
pub const RULES: [(Verb, Open); 6] = [
    (Verb::Status, Open::ToAll),
    (Verb::Watch, Open::ToAll),
    (Verb::Consent, Open::ToAll),
    (Verb::CheckNow, Open::ToAllSparingly),
    (Verb::ConfirmHealthy, Open::ToActiveProgram),
    (Verb::Retry, Open::ToRoot),
];

/// Whom a verb is open to.
pub fn open(verb: Verb) -> Open {
    match verb {
        Verb::Status | Verb::Watch | Verb::Consent => Open::ToAll,
        Verb::CheckNow => Open::ToAllSparingly,
        Verb::ConfirmHealthy => Open::ToActiveProgram,
        Verb::Retry => Open::ToRoot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_stands_in_the_table() {
        assert_eq!(RULES.len(), Verb::ALL.len());
        for verb in Verb::ALL {
            assert!(RULES.contains(&(verb, open(verb))), "{verb:?}");
        }
    }
}
