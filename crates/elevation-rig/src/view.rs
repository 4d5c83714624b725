//! The machine as some people see it: a mount namespace of its own, in which some files and folders are others. The
//! machine itself keeps its own, whatever happens here, also if we are killed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use mail_rig::process::Background;

/// A mount namespace, which lasts as long as this and the programs in it.
#[derive(Debug)]
pub(super) struct View {
    keeper: Background,
}

/// Mounts each first word over the second, and stays.
const KEEP: &str = r#"set -e
while [ $# -gt 0 ]; do mount --bind "$1" "$2"; shift 2; done
echo ready
exec sleep infinity"#;

impl View {
    /// A view in which each first path stands at the place of the second.
    ///
    /// # Errors
    /// When one of them does not exist, or mounting is forbidden here; the error shows what mount said.
    pub(super) fn new(dir: &Path, mounts: &[(PathBuf, &str)]) -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", KEEP, "sh"]);
        for (ours, place) in mounts {
            command.arg(ours).arg(place);
        }
        let log = dir.join("view.log");
        std::fs::write(&log, "")?;
        let mut keeper = Background::start("the private mounts", &mut command, &log)?;
        keeper.wait_for("ready", Duration::from_secs(20)).context("a mount namespace needs CAP_SYS_ADMIN")?;
        Ok(Self { keeper })
    }

    /// The words that start a program in it, for root to say.
    pub(super) fn prefix(&self) -> Vec<String> {
        vec!["nsenter".into(), format!("--mount=/proc/{}/ns/mnt", self.keeper.id()), "--".into()]
    }

    /// A program in it.
    pub(super) fn command(&self, program: &str) -> Command {
        let prefix = self.prefix();
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg(program);
        command
    }
}
