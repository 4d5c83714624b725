//! What is said to Windows word for word, in one place: access lists, the pipe's flags, how the service manager treats us. Tests
//! hold each of them, since Wine enforces few; `docs/windows-checklist.md` says how a person sees them on real Windows.
//!
//! SDDL: `SY` the system, `BA` administrators, `BU` users of this computer, `AU` whoever has signed in; `FA` everything, `0x1200a9`
//! read and run, `OICI` for what is below too, `D:P` nothing is inherited from above.

/// A directory that only the system and administrators can look into.
pub const PRIVATE_DIR: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
/// A directory that every user of this computer can look into.
pub const PUBLIC_DIR: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)";
/// A file that only the system and administrators can read.
pub const PRIVATE_FILE: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)";
/// A file that every user of this computer can read and run.
pub const PUBLIC_FILE: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1200a9;;;BU)";

/// The pipe: whoever has signed in can read and write, but not make another instance of it, which would take over its name:
/// `0x12019b` is `FILE_GENERIC_READ | FILE_GENERIC_WRITE` without `FILE_CREATE_PIPE_INSTANCE` (0x4). Nobody over the network (`NU`). It
/// belongs to the administrators, which only they and the system can say of something, and which clients look for.
pub const PIPE: &str = "O:BAD:P(D;;FA;;;NU)(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x12019b;;;AU)";
/// Nobody else may have made a pipe of this name before (`FILE_FLAG_FIRST_PIPE_INSTANCE`).
pub const PIPE_FIRST_INSTANCE: bool = true;
/// No caller of another computer (`PIPE_REJECT_REMOTE_CLIENTS`).
pub const PIPE_REJECTS_REMOTE: bool = true;

/// Rights of others that let them change what something is: write, append, attributes, delete it or what is in it, its access
/// list, its owner; and the generic ones that hold these (`winnt.h`).
pub const CHANGING: u32 = 0x2 | 0x4 | 0x10 | 0x40 | 0x100 | 0x1_0000 | 0x4_0000 | 0x8_0000 | 0x1000_0000 | 0x4000_0000;
/// The same without adding something: of a directory above ours, in which everybody may make directories, such as `C:\`.
pub const TAKING_AWAY: u32 = 0x40 | 0x1_0000 | 0x4_0000 | 0x8_0000 | 0x1000_0000;
/// Who may change things: the system, administrators, Windows' own installer, an object's owner as such.
pub const TRUSTED: [&str; 4] =
    ["S-1-5-18", "S-1-5-32-544", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464", "S-1-3-4"];

/// Where the event log finds our entries.
pub const EVENT_SOURCE: &str = "Lockstep Updater";
/// The service's name.
pub const SERVICE: &str = "LockstepUpdater";
/// As people see it.
pub const SERVICE_DISPLAY: &str = "Lockstep Updater";
/// What it is for.
pub const SERVICE_DESCRIPTION: &str =
    "Keeps the mail programs on this computer in step with the mail server, with what their vendor has signed.";
/// Milliseconds after which the service manager starts a crashed service again: the first time, the second, each later one.
pub const SERVICE_RESTARTS: [u32; 3] = [5_000, 30_000, 60_000];
/// Seconds without a crash after which it counts from the beginning.
pub const SERVICE_RESET: u32 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_lists_are_these() {
        assert_eq!(PRIVATE_DIR, "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)");
        assert_eq!(PUBLIC_DIR, "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)");
        assert_eq!(PRIVATE_FILE, "D:P(A;;FA;;;SY)(A;;FA;;;BA)");
        assert_eq!(PUBLIC_FILE, "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1200a9;;;BU)");
        for list in [PRIVATE_DIR, PUBLIC_DIR, PRIVATE_FILE, PUBLIC_FILE, PIPE] {
            assert!(list.contains("D:P("), "{list} would inherit");
            assert!(!list.contains(";WD)") && !list.contains(";AN)"), "{list} names everybody");
        }
    }

    #[test]
    fn users_cannot_make_another_instance_of_the_pipe() {
        assert_eq!(PIPE, "O:BAD:P(D;;FA;;;NU)(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x12019b;;;AU)");
        // FILE_GENERIC_READ | FILE_GENERIC_WRITE, FILE_APPEND_DATA = FILE_CREATE_PIPE_INSTANCE.
        assert_eq!((0x12_0089 | 0x12_0116) & !0x4, 0x12_019b);
        assert_eq!((PIPE_FIRST_INSTANCE, PIPE_REJECTS_REMOTE), (true, true));
    }

    #[test]
    fn reading_is_not_changing() {
        assert_eq!(0x0012_00a9 & CHANGING, 0);
        assert_ne!(0x0012_0116 & CHANGING, 0);
        assert_eq!(TAKING_AWAY & CHANGING, TAKING_AWAY);
        assert_eq!(0x4 & TAKING_AWAY, 0, "anybody may make a directory in C:\\");
    }

    #[test]
    fn the_service_is_restarted_after_these_times() {
        assert_eq!(
            (SERVICE, SERVICE_DISPLAY, EVENT_SOURCE),
            ("LockstepUpdater", "Lockstep Updater", "Lockstep Updater")
        );
        assert_eq!((SERVICE_RESTARTS, SERVICE_RESET), ([5_000, 30_000, 60_000], 86_400));
    }
}
