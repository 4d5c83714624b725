//! The updater's own upgrade: what it has in common with the supervisor, which watches over a new version of it.
//!
//! The updater is staged, activated and settled as every product is. What differs is who finds out whether the new
//! version works: it must come up in the old one's place. So before it switches, the old version puts the new one on trial (a
//! file), then ends; the supervisor starts what is active now; and the new version ends the trial once it has recovered, has
//! bound its socket, and has been in touch with the site's server or, should that be out of reach, has run for a while. One that
//! reaches the server which the old one has spoken to, and again and again is not understood, gives up: nobody could send it the
//! next version.
//! If it does not, the supervisor goes back, and leaves a second file for the old version to report from.
//!
//! The files' format stands in `bin/supervisor/trial.rs`. What the new version has written into the state file, the old
//! one may not be able to read; so it keeps a copy of its own.
//!
//! | attack | answer |
//! |---|---|
//! | a trial that somebody else begins, ends or fails | the files lie in the service's own directory, 0700 |
//! | a new version that stays silent | the supervisor's deadline |
//! | killed between any two steps | each is durable before the next, and each start continues from what the disk shows |

use std::{io, path::PathBuf, time::Duration};

use protocol::{Timestamp, Version, device::FailedVersion};

use crate::{
    layout::Layout,
    platform,
    slots::{Disk, disk::replace_file},
};

/// In the environment of an updater that was started by a supervisor: that one's process id. Like everything in a
/// privileged service's environment it is its starter's word; all that follows from it is who starts the next version.
const SUPERVISOR: &str = "LOCKSTEP_SUPERVISOR";
/// A new version proves itself at least this long.
pub const AT_LEAST: Duration = Duration::from_secs(5);
/// A new version that runs this long works, even when the site's server is out of reach. Shorter than the supervisor's
/// patience.
pub const ALONE: Duration = Duration::from_secs(60);

/// So many check-ins in a row that reach the server and are not understood tell that the new version cannot speak to it, where
/// the old one could within [`LATELY`].
pub const MISUNDERSTANDINGS: u32 = 3;
/// While there are fewer, the trial goes on for so long. Shorter than the supervisor's patience, too.
pub const UNDECIDED: Duration = Duration::from_secs(150);
/// What the old version knew of the server no longer ago than this counts.
pub const LATELY: Duration = Duration::from_secs(24 * 3600);

/// A version of the updater that has not come up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Which one.
    pub new: Version,
    /// The one to return to.
    pub old: Version,
}

/// Puts a version on trial, before it is activated.
///
/// # Errors
/// Whatever the disk says; then it must not be activated.
pub fn begin(layout: &Layout, disk: &dyn Disk, trial: &Trial) -> io::Result<()> {
    if let Some(state) = disk.read_file(&layout.state())? {
        replace_file(disk, &layout.state_before(), &state)?;
    }
    let text = format!("lockstep-trial 1\nnew {}\nold {}\nstarts 0\n", trial.new, trial.old);
    replace_file(disk, &layout.trial(), text.as_bytes())
}

/// Ends the trial, well or not; no error if there is none.
///
/// # Errors
/// Whatever the disk says; then the version is still on trial.
pub fn end(layout: &Layout, disk: &dyn Disk) -> io::Result<()> {
    if disk.read_file(&layout.trial())?.is_none() {
        return Ok(());
    }
    disk.remove_file(&layout.trial())?;
    disk.sync_dir(&layout.state_dir())?;
    disk.remove_file(&layout.state_before())
}

/// The version on trial, which is this one, finds that it does not work: once it has ended, the supervisor goes back.
///
/// # Errors
/// Whatever the disk says; then it is still on trial.
pub fn give_up(layout: &Layout, disk: &dyn Disk, failed: &FailedVersion) -> io::Result<()> {
    let reason: String = failed.reason.chars().filter(|c| !c.is_control()).collect();
    let (version, at) = (&failed.version, failed.at.as_second());
    let text = format!("lockstep-trial-failed 1\nversion {version}\nat {at}\nreason {reason}\n");
    replace_file(disk, &layout.trial_failed(), text.as_bytes())
}

/// Which version is on trial.
///
/// # Errors
/// Whatever the disk says.
pub fn trial(layout: &Layout, disk: &dyn Disk) -> io::Result<Option<Trial>> {
    let lines = lines(layout.trial(), "lockstep-trial 1", disk)?;
    let version = |name| value(&lines, name)?.parse().ok();
    Ok(version("new").zip(version("old")).map(|(new, old)| Trial { new, old }))
}

/// The version that the supervisor has left, until [`forget_failure`].
///
/// # Errors
/// Whatever the disk says.
pub fn failure(layout: &Layout, disk: &dyn Disk) -> io::Result<Option<FailedVersion>> {
    let lines = lines(layout.trial_failed(), "lockstep-trial-failed 1", disk)?;
    let Some(version) = value(&lines, "version").and_then(|v| v.parse().ok()) else { return Ok(None) };
    let at = value(&lines, "at").and_then(|v| Timestamp::from_second(v.parse().ok()?).ok()).unwrap_or_default();
    let reason = value(&lines, "reason").unwrap_or("it did not come up").to_owned();
    Ok(Some(FailedVersion::new(version, at, reason)))
}

/// The failure is remembered elsewhere now.
///
/// # Errors
/// Whatever the disk says.
pub fn forget_failure(layout: &Layout, disk: &dyn Disk) -> io::Result<()> {
    disk.remove_file(&layout.trial_failed())?;
    disk.sync_dir(&layout.state_dir())
}

/// Whether a supervisor has started this process, and would start another version of it.
pub fn is_supervised() -> bool {
    let named = std::env::var(SUPERVISOR).ok().and_then(|pid| pid.parse().ok());
    named.is_some_and(platform::is_parent)
}

/// Goes on as the supervisor, which starts this program again, where one is installed and this program is the installed
/// one. Returns when there is nothing of the kind, or it fails.
pub fn become_supervised(layout: &Layout) {
    let supervisor = layout.supervisor();
    let versions = layout.versions(&protocol::product::ProductId::updater());
    // Under systemd the unit says who starts whom, and whom systemd listens to.
    let by_systemd = std::env::var_os("NOTIFY_SOCKET").is_some();
    if by_systemd || std::env::var_os(SUPERVISOR).is_some() || !platform::runs_from(&versions) || !supervisor.is_file()
    {
        return;
    }
    let trusted = supervisor.parent().map(|dir| crate::site::trusted_path(layout.root(), dir));
    if let (Some(Ok(())), Ok(())) = (trusted, platform::written_by_us_only(&supervisor)) {
        let error = platform::become_program(&supervisor, &["--root".as_ref(), layout.root().as_os_str()]);
        tracing::error!(%error, "the supervisor cannot be started; this version goes on without");
    } else {
        tracing::error!(path = %supervisor.display(), "others could change the supervisor; this version goes on without");
    }
}

fn lines(path: PathBuf, first: &str, disk: &dyn Disk) -> io::Result<Vec<String>> {
    let text = disk.read_file(&path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let mut lines = text.lines().map(str::to_owned);
    Ok(if lines.next().as_deref() == Some(first) { lines.collect() } else { vec![] })
}

fn value<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.split_once(' ').filter(|(n, _)| *n == name)).map(|(_, value)| value)
}
