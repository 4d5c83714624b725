//! The machine's services, as systemd runs them: looked at, and restarted when a new version is to run.
//!
//! | attack | answer |
//! |---|---|
//! | a unit that nobody signed | the name comes from the active version's signed manifest only, and has a plain form ([`UnitName`]) |
//! | another `systemctl` by PATH, a preloaded library | an absolute path, an empty environment, `/` as working directory, no shell |
//! | a user's processes that crash on purpose | only systemd's own count of the unit's restarts counts |
//! | a service manager that does not answer | a deadline for each question ([`PATIENCE`]), which is asked again ([`AGAIN`]) |
//! | a service that the administrator has stopped | it is not started again ([`Unit::is_wanted`]) |

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use release::package::{Health, UnitName};
use tokio::time::{Instant, sleep, timeout};

/// systemd answers within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// A question that cannot be asked, or that systemd does not answer, is asked again for so long: while systemd is executed anew
/// (`daemon-reexec`), or no process can be made. Neither says anything about a service.
const AGAIN: Duration = Duration::from_secs(20);
/// How often a restarted service is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// What is asked about a unit.
const PROPERTIES: &str = "LoadState,ActiveState,InvocationID,NRestarts,Result,UnitFileState,Job";

/// Why a service could not be restarted or looked at.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// There is no systemd.
    #[error("{0} cannot be restarted: systemd does not run on this computer")]
    NoSystemd(UnitName),
    /// There is no such unit.
    #[error("{0} is not known to systemd; install the product's unit")]
    Unknown(UnitName),
    /// systemd says no.
    #[error("systemctl {what} {unit} says: {said}")]
    Refused {
        /// Which command.
        what: &'static str,
        /// Which unit.
        unit: UnitName,
        /// Its words.
        said: String,
    },
    /// It cannot be asked.
    #[error("systemctl cannot be run")]
    Failed(#[source] io::Error),
}

impl ServicesError {
    /// Whether nothing was said about the unit: the question could not be asked, or was not answered.
    fn is_unanswered(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Failed(_))
    }
}

/// Asks again for [`AGAIN`] while there is no answer.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, ServicesError>
where
    F: Future<Output = Result<T, ServicesError>>,
{
    let until = Instant::now() + AGAIN;
    loop {
        match ask().await {
            Err(error) if error.is_unanswered() && Instant::now() < until => sleep(LOOK).await,
            answered => return answered,
        }
    }
}

/// A unit as systemd shows it (systemctl(1), `show`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    loaded: bool,
    /// `active`, `activating`, `deactivating`, `failed`, `inactive`, …
    state: String,
    /// Changes with every start.
    instance: String,
    /// Restarts that systemd has made by itself since somebody last started it.
    restarts: u32,
    result: String,
    enabled: bool,
    /// Whether systemd has still to do what it was asked to: what it shows is of before.
    has_job: bool,
}

impl Unit {
    /// From `Name=value` lines; what is missing is as if it were empty.
    fn parse(text: &str) -> Self {
        let value =
            |name: &str| text.lines().find_map(|l| l.split_once('=').filter(|(n, _)| *n == name)).map(|(_, v)| v);
        let owned = |name| value(name).unwrap_or_default().to_owned();
        Self {
            loaded: value("LoadState") == Some("loaded"),
            state: owned("ActiveState"),
            instance: owned("InvocationID"),
            restarts: value("NRestarts").and_then(|n| n.parse().ok()).unwrap_or(0),
            result: owned("Result"),
            enabled: value("UnitFileState").is_some_and(|s| s.starts_with("enabled")),
            has_job: value("Job").is_some_and(|job| !["", "0"].contains(&job)),
        }
    }

    /// Whether the service runs, tries to, or should: what an administrator has stopped or never enabled stays as it is.
    fn is_wanted(&self, first: bool) -> bool {
        match self.state.as_str() {
            "inactive" | "" => first && self.enabled,
            _ => true,
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "failed" | "inactive")
    }
}

/// systemd on this computer.
#[derive(Debug, Clone)]
pub struct Systemd {
    systemctl: PathBuf,
    booted: PathBuf,
}

impl Default for Systemd {
    fn default() -> Self {
        // There exactly where systemd is the service manager (sd_booted(3)).
        Self { systemctl: "/usr/bin/systemctl".into(), booted: "/run/systemd/system".into() }
    }
}

impl Systemd {
    /// For tests where no systemd runs: a directory with a program `systemctl` that does the same. No configuration leads
    /// here.
    pub fn stand_in(dir: &Path) -> Self {
        Self { systemctl: dir.join("systemctl"), booted: dir.into() }
    }

    /// Restarts a unit and watches it by the vendor's rule. `first`: there was no version before, so the service is
    /// also started where it was enabled and not running. `Ok(false)`: it does not run, by the administrator's wish, and was left
    /// alone.
    ///
    /// # Errors
    /// In words for people: what could not be done, or what is wrong with the service.
    pub async fn restart_and_watch(&self, unit: &UnitName, rule: &Health, first: bool) -> Result<bool, String> {
        let words = |error: ServicesError| crate::words(&error);
        let before = patiently(|| self.look(unit)).await.map_err(words)?;
        if !before.is_wanted(first) {
            tracing::info!(%unit, "does not run, and is left alone");
            return Ok(false);
        }
        patiently(|| self.restart(unit)).await.map_err(words)?;
        self.watch(unit, rule, &before.instance).await.map(|()| true)
    }

    /// Restarts a unit that runs or tries to; does not wait for it.
    ///
    /// # Errors
    /// [`ServicesError`].
    pub async fn restart_if_wanted(&self, unit: &UnitName) -> Result<(), ServicesError> {
        if self.look(unit).await?.is_wanted(false) { self.restart(unit).await } else { Ok(()) }
    }

    async fn watch(&self, unit: &UnitName, rule: &Health, before: &str) -> Result<(), String> {
        let words = |error: ServicesError| crate::words(&error);
        let seconds = |n: u16| Duration::from_secs(n.into());
        let deadline = Instant::now() + seconds(rule.ready_seconds);
        let (mut until, mut unanswered) = (None, None);
        loop {
            let now = match self.look(unit).await {
                Ok(now) => now,
                Err(error @ ServicesError::Unknown(_)) => return Err(words(error)),
                // Nothing was said about the unit.
                Err(error) => {
                    let (at, latest) = (Instant::now(), until.map_or(deadline, |u| u + seconds(rule.ready_seconds)));
                    if at >= latest.max(*unanswered.get_or_insert(at) + AGAIN) {
                        return Err(words(error));
                    }
                    tracing::debug!(%unit, error = words(error), "asked again");
                    sleep(LOOK).await;
                    continue;
                }
            };
            unanswered = None;
            // A version that crashed again and again until now has had new instances by itself: theirs is the count until
            // the restart is done.
            let is_new = !now.has_job && now.instance != before && !now.instance.is_empty();
            if is_new && now.restarts >= u32::from(rule.crashes) {
                return Err(format!(
                    "{unit} ended {} times (limit {} in {} seconds; result {})",
                    now.restarts, rule.crashes, rule.within_seconds, now.result
                ));
            }
            if is_new && now.has_ended() {
                return Err(format!("{unit} has ended ({}, result {})", now.state, now.result));
            }
            let active = is_new && now.state == "active";
            if active && until.is_none() {
                until = Some(Instant::now() + seconds(rule.within_seconds));
            }
            match until {
                Some(until) if Instant::now() >= until && active => return Ok(()),
                // Between two starts just then: it has as long as for being ready.
                Some(until) if Instant::now() >= until + seconds(rule.ready_seconds) => {
                    return Err(format!("{unit} is {} and not active", now.state));
                }
                None if Instant::now() >= deadline => {
                    return Err(format!("{unit} was not active within {} seconds ({})", rule.ready_seconds, now.state));
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    async fn look(&self, unit: &UnitName) -> Result<Unit, ServicesError> {
        if !self.booted.is_dir() {
            return Err(ServicesError::NoSystemd(unit.clone()));
        }
        let text = self.systemctl("show", &["--property", PROPERTIES], unit).await?;
        let found = Unit::parse(&text);
        if found.loaded { Ok(found) } else { Err(ServicesError::Unknown(unit.clone())) }
    }

    async fn restart(&self, unit: &UnitName) -> Result<(), ServicesError> {
        tracing::info!(%unit, "restarting");
        // A unit that systemd has given up would refuse to be started; one that it has not needs nothing here.
        if let Err(error) = self.systemctl("reset-failed", &[], unit).await {
            tracing::debug!(%unit, error = %crate::words(&error), "not reset");
        }
        self.systemctl("restart", &["--no-block"], unit).await.map(drop)
    }

    async fn systemctl(&self, what: &'static str, options: &[&str], unit: &UnitName) -> Result<String, ServicesError> {
        let mut command = tokio::process::Command::new(&self.systemctl);
        command.arg(what).args(options).arg("--").arg(unit.as_str());
        command.env_clear().current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let output =
            timeout(PATIENCE, command.output()).await.map_err(late).flatten().map_err(ServicesError::Failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said =
            String::from_utf8_lossy(&output.stderr).trim().chars().filter(|c| !c.is_control()).take(300).collect();
        Err(ServicesError::Refused { what, unit: unit.clone(), said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_and_what_is_stopped_is_not_wanted() {
        let text = "LoadState=loaded\nActiveState=active\nInvocationID=ab12\nNRestarts=3\nResult=success\nUnitFileState=enabled\nJob=77\n";
        let unit = Unit::parse(text);
        let expected = Unit {
            loaded: true,
            state: "active".into(),
            instance: "ab12".into(),
            restarts: 3,
            result: "success".into(),
            enabled: true,
            has_job: true,
        };
        assert_eq!(unit, expected);
        assert!(!Unit::parse("Job=\n").has_job && !Unit::parse("Job=0\n").has_job && !Unit::parse("").has_job);
        for (state, enabled, running, first) in [
            ("active", false, true, true),
            ("activating", false, true, true),
            ("failed", false, true, true),
            ("inactive", true, false, true),
            ("inactive", false, false, false),
            ("", false, false, false),
        ] {
            let unit = Unit { state: state.into(), enabled, ..Unit::default() };
            assert_eq!((unit.is_wanted(false), unit.is_wanted(true)), (running, first), "{state} {enabled}");
        }
        assert_eq!(Unit::parse("garbage"), Unit::default());
    }

    #[tokio::test]
    async fn without_systemd_it_is_refused_in_words() {
        let nowhere = Systemd::stand_in(Path::new("/nowhere"));
        let unit = "web.service".parse().unwrap();
        let said = nowhere.restart_and_watch(&unit, &Health::default(), false).await.unwrap_err();
        assert_eq!(said, "web.service cannot be restarted: systemd does not run on this computer");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_question_that_systemd_does_not_answer_says_nothing_about_the_service() {
        // Each first question about the service, before its restart and after it, comes to nothing, and so does the first restart.
        let script = r#"#!/bin/sh
            dir=${0%/*}
            fails_once() { [ -e "$dir/$1" ] || { : > "$dir/$1"; echo "Failed to connect to bus: Connection refused" >&2; exit 1; }; }
            case $1 in
            show)
                instance=before
                if [ -e "$dir/restarted" ]; then fails_once after; fails_once again; instance=after; else fails_once early; fi
                echo LoadState=loaded; echo ActiveState=active; echo InvocationID=$instance; echo NRestarts=0;;
            restart) fails_once restarting; : > "$dir/restarted";;
            esac
        "#;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("systemctl"), script).unwrap();
        crate::platform::set_mode(&dir.path().join("systemctl"), 0o755).unwrap();
        let rule = Health { ready_seconds: 60, within_seconds: 1, ..Health::default() };
        let unit = "web.service".parse().unwrap();
        let found = Systemd::stand_in(dir.path()).restart_and_watch(&unit, &rule, false).await;
        assert_eq!(found, Ok(true));
        for question in ["early", "restarting", "after", "again"] {
            assert!(dir.path().join(question).exists(), "{question} was not asked");
        }
    }
}
