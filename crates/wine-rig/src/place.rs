//! A network and a host name of a PC's own: namespaces that last as long as one process.

use std::{fs, path::Path, process::Command};

use anyhow::Result;
use mail_rig::process::{Background, wait_until};

use crate::LONG;

/// Sets the name and the names of others, and stays. Without a name of its own in `/etc/hosts` a PC takes 20 seconds to start.
const KEEP: &str = r#"set -e
hostname "$1"
mount --bind "$2" /etc/hosts
ip link set lo up
echo ready
exec sleep infinity"#;

/// Namespaces of the network, the host name and some mounts.
#[derive(Debug)]
pub(crate) struct Place {
    keeper: Background,
    cables: Vec<Background>,
}

impl Place {
    /// A place for a PC of this name; what belongs to it lies in files whose names begin with `beside`.
    pub(crate) fn new(name: &str, beside: &Path) -> Result<Self> {
        let hosts = beside.with_extension("hosts");
        fs::write(&hosts, format!("127.0.0.1 localhost {name}\n::1 localhost\n"))?;
        let log = beside.with_extension("log");
        fs::write(&log, "")?;
        let mut keep = Command::new("unshare");
        keep.args(["--net", "--uts", "--mount", "--propagation", "private", "sh", "-c", KEEP, "sh", name]).arg(&hosts);
        let mut keeper = Background::start("a PC's place", &mut keep, &log)?;
        keeper.wait_for("ready", LONG)?;
        Ok(Self { keeper, cables: Vec::new() })
    }

    /// The words that start a program there.
    pub(crate) fn prefix(&self) -> Vec<String> {
        let target = self.keeper.id().to_string();
        ["nsenter", "--net", "--uts", "--mount", "--target", &target, "--wd=/", "--"].map(str::to_owned).to_vec()
    }

    pub(crate) fn plug(&mut self, port: u16, socket: &Path, log: &Path) -> Result<()> {
        let mut outside = Command::new("socat");
        outside.arg(format!("UNIX-LISTEN:{},fork,unlink-early", socket.display())).arg(format!("TCP:127.0.0.1:{port}"));
        let outside = Background::start("a cable's end", &mut outside, log)?;
        wait_until("the cable's end", LONG, || Ok(socket.exists().then_some(())))?;
        let prefix = self.prefix();
        let mut inside = Command::new(&prefix[0]);
        inside.args(&prefix[1..]).arg("socat");
        inside.arg(format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr"));
        inside.arg(format!("UNIX-CONNECT:{}", socket.display()));
        let inside = Background::start("a cable", &mut inside, log)?;
        self.cables.extend([outside, inside]);
        Ok(())
    }

    pub(crate) fn unplug(&mut self) {
        self.cables.clear();
    }
}
