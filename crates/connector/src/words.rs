//! What a user can do, in the words of the system that they sit at: commands on Linux; on Windows the menu of the icon beside the
//! clock, and whole command lines, since no program of ours is in a terminal's search path there.

/// What to do, as parts of sentences.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    /// Ends "To go on, ".
    pub upgrade: &'static str,
    /// What gives the user's consent.
    pub consent: &'static str,
    /// The command that makes the account, or renews its password.
    pub setup: &'static str,
    /// What shows how the updater stands.
    pub updater_status: &'static str,
}

/// On Linux.
pub const LINUX: Words = Words {
    upgrade: "run: lockstep-connector upgrade",
    consent: "lockstep-updater consent",
    setup: "lockstep-connector setup",
    updater_status: "lockstep-updater status",
};

/// On Windows.
pub const WINDOWS: Words = Words {
    upgrade: "choose \"Upgrade now\" in the menu of the icon beside the clock",
    consent: "\"Upgrade now\" in the menu of the icon beside the clock",
    setup: "\"%ProgramFiles%\\Lockstep\\launcher\\lockstep-launcher\" --once connector -- setup --user YOU@YOUR.DOMAIN",
    updater_status: "\"%ProgramFiles%\\Lockstep\\launcher\\lockstep-launcher\" --once updater -- status",
};

/// Here.
pub const HERE: Words = if cfg!(windows) { WINDOWS } else { LINUX };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_windows_user_is_sent_to_what_there_is_on_windows() {
        assert_eq!(HERE, LINUX);
        let Words { upgrade, consent, setup, updater_status } = WINDOWS;
        for word in [upgrade, consent] {
            assert!(word.contains("\"Upgrade now\"") && !word.contains("lockstep-"), "{word}");
        }
        for command in [setup, updater_status] {
            assert!(command.starts_with("\"%ProgramFiles%\\Lockstep\\launcher\\"), "{command}: whole, quoted");
        }
    }
}
