//! Running the installer with the administrator's rights, by the command that the site has chosen (`pkexec`, `sudo -A`;
//! `uac` is User Account Control on Windows).
//!
//! | attack, or mishap | answer |
//! |---|---|
//! | an argument that a shell would read as more | there is no shell: the command is a list of arguments |
//! | variables of the user's session that change what the installer does | an environment of its own: only what a prompt needs ([`KEPT`]) |
//! | a prompt that steals the terminal of a background program, or hangs on it | a session of its own ([`Terminal::None`]) |
//! | endless output | the first [`MAX_OUTPUT`] bytes are kept, the rest is read and dropped |
//! | a prompt that nobody answers | [`Elevation::patience`]; then it is taken back |
//! | control characters in what the installer says, on their way to a log or a console | escaped |

use std::{
    ffi::OsStr,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use super::policy::Outcome;
use crate::platform;

/// What a prompt needs of the user's environment: the screen, the session, whom to ask, and in which language.
const KEPT: [&str; 34] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_MESSAGES",
    "TERM",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_ID",
    "XDG_SESSION_TYPE",
    "XDG_CURRENT_DESKTOP",
    "XDG_SEAT",
    "XDG_VTNR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "SUDO_ASKPASS",
    "SSH_ASKPASS",
    // Windows: the system's folders and the user's.
    "ALLUSERSPROFILE",
    "APPDATA",
    "COMSPEC",
    "LOCALAPPDATA",
    "PATHEXT",
    "PROGRAMDATA",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERPROFILE",
    "WINDIR",
];

/// Bytes of either output that are kept.
const MAX_OUTPUT: usize = 16 * 1024;

/// Characters of a reason.
const MAX_REASON: usize = 300;

/// How long whoever is asked may take, and the installer after that.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How long a probe may take.
const PROBE: Duration = Duration::from_secs(10);

/// How a prompt that is taken back may end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Whose terminal the command may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// None: the connector runs in the background.
    None,
    /// The user's, who has typed the command that led here.
    Users,
}

/// Why nothing was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Which kind.
    pub outcome: Outcome,
    /// In words.
    pub detail: String,
}

impl Denied {
    fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: detail.into() }
    }
}

/// The command that runs another one with the administrator's rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elevation {
    /// The command and its arguments; the installer and its arguments follow.
    pub command: Vec<String>,
    /// A command that succeeds when no password would be asked for. `None`: the usual one for `pkexec` and `sudo`.
    pub probe: Option<Vec<String>>,
    /// How long it may take, prompt and all.
    pub patience: Duration,
}

impl Default for Elevation {
    /// polkit's; on Windows, User Account Control.
    fn default() -> Self {
        Self { command: vec![platform::ELEVATION.into()], probe: None, patience: PATIENCE }
    }
}

/// Commands whose answers are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pkexec,
    Sudo,
    /// User Account Control, which is no command.
    #[cfg(windows)]
    Uac,
    Other,
}

/// The exit code of an elevation command on Windows that was refused, as the system itself says it (`ERROR_CANCELLED`).
#[cfg(windows)]
const CANCELLED: i32 = platform::elevate::REFUSED;

impl Elevation {
    /// With a command other than the usual one.
    pub fn of(command: Vec<String>) -> Self {
        Self { command, ..Self::default() }
    }

    fn kind(&self) -> Kind {
        match self.command.first().map(|program| Path::new(program).file_name().unwrap_or_default()) {
            Some(name) if name == "pkexec" => Kind::Pkexec,
            Some(name) if name == "sudo" => Kind::Sudo,
            #[cfg(windows)]
            Some(name) if name == platform::ELEVATION => Kind::Uac,
            _ => Kind::Other,
        }
    }

    /// Whether the installer would run without anybody being asked for a password, as far as can be told beforehand.
    pub async fn is_quiet(&self) -> bool {
        let probe = match (&self.probe, self.kind()) {
            (Some(probe), _) => probe.clone(),
            (None, Kind::Pkexec) => {
                let process = platform::own_process();
                ["pkcheck", "--action-id", "org.freedesktop.policykit.exec", "--process", &process]
                    .map(Into::into)
                    .into()
            }
            (None, Kind::Sudo) => {
                let program = self.command.first().cloned().unwrap_or_default();
                vec![program, "-n".into(), "--".into(), "true".into()]
            }
            #[cfg(windows)]
            (None, Kind::Uac) => return platform::is_elevated(),
            (None, Kind::Other) => return false,
        };
        let Some(mut command) = clean(&probe) else { return false };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        platform::detach(&mut command);
        match tokio::time::timeout(PROBE, command.status()).await {
            Ok(Ok(status)) => status.success(),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Whether the prompt says nothing of what it is for, so that we must.
    pub fn needs_words(&self) -> bool {
        !matches!(self.kind(), Kind::Pkexec | Kind::Sudo | Kind::Other)
    }

    /// Runs `program`, and gives what it said, line by line.
    ///
    /// # Errors
    /// [`Denied`]: nothing was installed, and why.
    pub async fn run(&self, program: &Path, arguments: &[&OsStr], terminal: Terminal) -> Result<String, Denied> {
        platform::can_elevate().map_err(|why| Denied::new(Outcome::Failed, why))?;
        #[cfg(windows)]
        if self.kind() == Kind::Uac {
            return answer(platform::elevate(program, arguments, self.patience).await);
        }
        let Some(mut command) = clean(&self.command) else {
            return Err(Denied::new(Outcome::Failed, "the elevation command is empty"));
        };
        if self.kind() == Kind::Sudo {
            // Its answers can be told apart by their words only.
            command.env("LC_ALL", "C");
        }
        command.arg(program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        match terminal {
            Terminal::None => {
                command.stdin(Stdio::null());
                platform::detach(&mut command);
            }
            Terminal::Users => {}
        }
        let name = self.command.first().map(String::as_str).unwrap_or_default();
        let mut child = command.spawn().map_err(|error| {
            Denied::new(Outcome::Failed, format!("the elevation command {name:?} cannot be started: {error}"))
        })?;
        let session = (terminal == Terminal::None).then(|| child.id()).flatten().map(Session);
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let all = async {
            let echo = terminal == Terminal::Users;
            let (out, err, status) = tokio::join!(capped(out, false), capped(err, echo), child.wait());
            (out, err, status)
        };
        let Ok((out, err, status)) = tokio::time::timeout(self.patience, all).await else {
            drop(session);
            // A prompt that does not go away is not waited for any longer; what it answers counts for nobody.
            let _ = tokio::time::timeout(FAREWELL, child.wait()).await;
            return Err(Denied::new(Outcome::Refused, "nobody answered the prompt"));
        };
        std::mem::forget(session);
        let status = status.map_err(|error| Denied::new(Outcome::Failed, error.to_string()))?;
        verdict(self.kind(), status, &out, &err)
    }
}

/// What User Account Control's answer means. What the installer said cannot be read across the two rights; it is in its log.
#[cfg(windows)]
fn answer(elevated: platform::Elevated) -> Result<String, Denied> {
    use platform::Elevated::{Ended, Failed, Refused, StillRuns};
    match elevated {
        Ended(0) => Ok("Installed with the administrator's permission.".into()),
        Ended(code) => Err(Denied::new(Outcome::Failed, format!("the installer ended with {code}; its log says why"))),
        Refused => Err(Denied::new(Outcome::Refused, "the prompt was answered with no")),
        StillRuns => Err(Denied::new(Outcome::Failed, "the installer takes very long, and goes on")),
        Failed(error) => Err(Denied::new(Outcome::Failed, format!("the installer cannot be started: {error}"))),
    }
}

/// A prompt in a session of its own; taken back when it is dropped. What already runs as root is not touched: this user
/// may not, and it should finish what it has begun.
#[derive(Debug)]
struct Session(u32);

impl Drop for Session {
    fn drop(&mut self) {
        platform::end_session(self.0);
    }
}

fn clean(command: &[String]) -> Option<Command> {
    let (program, arguments) = command.split_first()?;
    let mut clean = Command::new(program);
    clean.args(arguments).env_clear().current_dir("/");
    clean.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    Some(clean)
}

/// Reads to the end and keeps the beginning; shows all of it to the user where `echo` is set.
async fn capped(stream: Option<impl AsyncRead + Unpin>, echo: bool) -> String {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return String::new() };
    let mut buffer = [0; 4096];
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        if echo {
            // A terminal that is gone is no reason to stop.
            let _ = tokio::io::stderr().write_all(&buffer[..read]).await;
        }
        kept.extend_from_slice(&buffer[..read.min(MAX_OUTPUT - kept.len())]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn verdict(kind: Kind, status: ExitStatus, out: &str, err: &str) -> Result<String, Denied> {
    if status.success() {
        return Ok(out.lines().map(escaped).collect::<Vec<_>>().join("\n"));
    }
    // The installer's own last word: it was permitted, and failed.
    if let Some(said) = err.lines().rev().find_map(|line| line.strip_prefix("lockstep-updater: ")) {
        return Err(Denied::new(Outcome::Failed, escaped(said)));
    }
    let last = err.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let said = if last.is_empty() { format!("it ended with {status}") } else { escaped(last) };
    let has = |text: &str| err.contains(text);
    Err(match (kind, status.code()) {
        #[cfg(windows)]
        (Kind::Other, Some(CANCELLED)) => Denied::new(Outcome::Refused, "the prompt was answered with no"),
        (Kind::Pkexec, Some(126)) => Denied::new(Outcome::Refused, "the prompt was dismissed"),
        (Kind::Pkexec, Some(127)) => Denied::new(Outcome::NotAuthorised, format!("not authorised: {said}")),
        (Kind::Sudo, Some(1)) if has("no password was provided") || has("a password is required") => {
            Denied::new(Outcome::Refused, "no password was given")
        }
        (Kind::Sudo, Some(1)) if has("incorrect password") => Denied::new(Outcome::NotAuthorised, "wrong password"),
        (Kind::Sudo, Some(1)) if has("not in the sudoers") || has("not allowed") || has("may not run") => {
            Denied::new(Outcome::NotAuthorised, format!("not authorised: {said}"))
        }
        _ => Denied::new(Outcome::Failed, said),
    })
}

fn escaped(text: &str) -> String {
    text.trim()
        .chars()
        .take(MAX_REASON)
        .collect::<String>()
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn answer(kind: Kind, code: i32, err: &str) -> (Outcome, String) {
        let denied = verdict(kind, ExitStatus::from_raw(code << 8), "", err).unwrap_err();
        (denied.outcome, denied.detail)
    }

    #[test]
    fn refused_wrong_and_failed_are_told_apart() {
        use Outcome::*;
        for (kind, code, err, outcome) in [
            (Kind::Pkexec, 126, "Error executing command as another user: Request dismissed", Refused),
            (
                Kind::Pkexec,
                127,
                "Error executing command as another user: Not authorized\n\nThis incident has been reported.",
                NotAuthorised,
            ),
            (Kind::Pkexec, 1, "lockstep-updater: the package was altered", Failed),
            (Kind::Sudo, 1, "sudo: no password was provided\nsudo: 1 incorrect password attempt", Refused),
            (Kind::Sudo, 1, "Sorry, try again.\nsudo: 3 incorrect password attempts", NotAuthorised),
            (Kind::Sudo, 1, "alice is not in the sudoers file.", NotAuthorised),
            (Kind::Sudo, 1, "Sorry, try again.\nlockstep-updater: download it again", Failed),
            (Kind::Sudo, 1, "sudo: effective uid is not 0, is sudo installed setuid root?", Failed),
            (Kind::Other, 1, "no", Failed),
        ] {
            assert_eq!(answer(kind, code, err).0, outcome, "{err}");
        }
        assert_eq!(answer(Kind::Sudo, 1, "x\nlockstep-updater: download it again\n").1, "download it again");
        assert_eq!(answer(Kind::Other, 3, "").1, "it ended with exit status: 3");
        assert_eq!(answer(Kind::Other, 3, "\u{1b}[2Jbad").1, "\\u{1b}[2Jbad");
    }

    fn shell(script: &str) -> Elevation {
        Elevation::of(["sh", "-c", script, "sh"].map(Into::into).into())
    }

    #[tokio::test]
    async fn the_installer_gets_its_arguments_whole_and_a_clean_environment_without_a_terminal() {
        let script = r#"printf '%s|' "$@"; env | cut -d= -f1 | sort | tr '\n' ' '; (exec </dev/tty) 2>/dev/null && echo tty; true"#;
        let said = shell(script)
            .run(Path::new("/the program"), &[OsStr::new("install; rm"), OsStr::new("$HOME")], Terminal::None)
            .await
            .unwrap();
        assert!(said.starts_with("/the program|install; rm|$HOME|"), "{said}");
        assert!(said.contains("PATH") && !said.contains("CARGO") && !said.ends_with("tty"), "{said}");
    }

    #[tokio::test]
    async fn a_prompt_that_nobody_answers_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let mut elevation = shell("echo $$ > \"$1\"; sleep 600; true");
        elevation.command.push(file.to_str().unwrap().into());
        elevation.patience = Duration::from_secs(2);
        let denied = elevation.run(Path::new("/p"), &[], Terminal::None).await.unwrap_err();
        assert_eq!(denied.outcome, Outcome::Refused);
        let pid = std::fs::read_to_string(&file).unwrap();
        let gone = || !Path::new("/proc").join(pid.trim()).exists();
        for _ in 0..100 {
            if gone() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(gone(), "the prompt is still there");
    }

    #[tokio::test]
    async fn endless_output_does_no_harm_and_a_missing_command_says_so() {
        let said = shell("yes | head -c 5000000").run(Path::new("/p"), &[], Terminal::None).await.unwrap();
        assert!(said.len() <= MAX_OUTPUT, "{}", said.len());
        let missing = Elevation::of(vec!["/nonexistent/elevate".into()]);
        let denied = missing.run(Path::new("/p"), &[], Terminal::None).await.unwrap_err();
        assert!(denied.outcome == Outcome::Failed && denied.detail.contains("/nonexistent/elevate"), "{denied:?}");
        assert!(!missing.is_quiet().await);
        let mut probed = Elevation::default();
        for (command, quiet) in [("true", true), ("false", false)] {
            probed.probe = Some(vec![command.into()]);
            assert_eq!(probed.is_quiet().await, quiet);
        }
    }
}
