//! PCs with a real systemd: containers that boot, reboot and lose power.
//!
//! `systemd-nspawn` starts Debian's own init in a copy of a small tree ([`base`]). Each PC has a network of its own, in which
//! nothing is reachable but what a test has plugged in ([`Machine::plug`]). Only processes that were started here are ended, by
//! their ids; a PC goes with its last process and its folder when it is dropped.

pub mod base;

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Background, must, run, signal, tail, wait_until};

/// Longer than any boot or shutdown on a busy machine.
const LONG: Duration = Duration::from_secs(90);
/// What `systemd-nspawn` ends with when its PC has asked for a reboot (systemd-nspawn(1)).
const REBOOT: i32 = 133;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A PC with a real systemd.
#[derive(Debug)]
pub struct Machine {
    name: String,
    dir: PathBuf,
    console: PathBuf,
    network: Background,
    cables: Vec<Background>,
    power: Option<Power>,
}

/// A PC that is on.
#[derive(Debug)]
struct Power {
    nspawn: Background,
    init: u32,
}

impl Machine {
    /// A new PC, switched off.
    ///
    /// # Errors
    /// When the tree cannot be copied, or the network cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let dir = base::copy(name)?;
        let console = base::beside(&dir, "console");
        // Holds a network namespace as long as it lives, so that there is a network before the PC is switched on.
        let mut hold = Command::new("unshare");
        hold.args(["--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"]);
        let mut network = Background::start("a network", &mut hold, &console)?;
        network.wait_for("up", LONG)?;
        Ok(Self { name: name.into(), dir, console, network, cables: Vec::new(), power: None })
    }

    /// The PC's root directory, as seen from outside.
    pub fn root(&self) -> &Path {
        &self.dir
    }

    /// A file of the PC, as seen from outside.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.dir.join(absolute.trim_start_matches('/'))
    }

    /// Copies a file into the PC.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn put(&self, from: &Path, to: &str) -> Result<()> {
        let to = self.path(to);
        fs::create_dir_all(to.parent().context("no parent")?)?;
        fs::copy(from, &to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
        Ok(())
    }

    /// Writes a file of the PC that everybody may read.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write(&self, to: &str, text: &str) -> Result<()> {
        let to = self.path(to);
        fs::create_dir_all(to.parent().context("no parent")?)?;
        fs::write(&to, text).with_context(|| to.display().to_string())?;
        Ok(fs::set_permissions(&to, fs::Permissions::from_mode(0o644))?)
    }

    /// Makes a port of this machine's loopback address reachable under the same number on the PC's.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn plug(&mut self, port: u16) -> Result<()> {
        let socket = base::beside(&self.dir, &format!("{port}.socket"));
        let here = format!("UNIX-LISTEN:{},fork", socket.display());
        let mut outside = Command::new("socat");
        outside.arg(&here).arg(format!("TCP:127.0.0.1:{port}"));
        let outside = Background::start("a cable's end", &mut outside, &self.console)?;
        wait_until("the cable's end", LONG, || Ok(socket.exists().then_some(())))?;
        let mut inside = Command::new("nsenter");
        inside.args(["--net", "--target", &self.network.id().to_string(), "socat"]);
        inside.arg(format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr"));
        inside.arg(format!("UNIX-CONNECT:{}", socket.display()));
        let inside = Background::start("a cable", &mut inside, &self.console)?;
        self.cables.extend([outside, inside]);
        Ok(())
    }

    /// Pulls every cable.
    pub fn unplug(&mut self) {
        self.cables.clear();
    }

    /// Switches it on and waits until systemd has started everything.
    ///
    /// # Errors
    /// When it does not come up; the error shows its console.
    pub fn boot(&mut self) -> Result<()> {
        ensure!(self.power.is_none(), "{} is on already", self.name);
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--boot", "--console=pipe", "--register=no", "--keep-unit", "--link-journal=no"]);
        command.arg("--directory").arg(&self.dir);
        command.args([format!("--machine={}", self.name), format!("--hostname={}", self.name)]);
        command.arg(format!("--network-namespace-path=/proc/{}/ns/net", self.network.id()));
        let mut nspawn = Background::start(&self.name, &mut command, &self.console)?;
        let init = wait_until(&format!("{} is switched on", self.name), LONG, || {
            ensure!(nspawn.is_running(), "it ended:\n{}", tail(&self.console));
            Ok(init_of(nspawn.id()))
        })?;
        self.power = Some(Power { nspawn, init });
        wait_until(&format!("{} has started", self.name), LONG, || {
            let said = self.run(&["systemctl", "is-system-running", "--wait"])?;
            let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
            Ok(["running", "degraded"].contains(&said.as_str()).then_some(()))
        })
        .with_context(|| tail(&self.console))
    }

    /// Runs a program on the PC, as root, and gives its output, whatever its exit code.
    ///
    /// # Errors
    /// When it is off, or the program cannot be started.
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Output> {
        run(&mut self.command(words)?)
    }

    /// As [`Machine::run`], for a program that must succeed; gives what it printed.
    ///
    /// # Errors
    /// When it does not; the error shows what it printed.
    pub fn must<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<String> {
        must(&mut self.command(words)?)
    }

    /// A command that runs on the PC, as root, with nothing of our environment.
    ///
    /// # Errors
    /// When it is off.
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Command> {
        let power = self.power.as_ref().with_context(|| format!("{} is off", self.name))?;
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &power.init.to_string(), "--"]).args(words);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        Ok(command)
    }

    /// A command that runs in the tree while the PC is off, as when an image is made.
    pub fn command_when_off<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--pipe", "--register=no", "--keep-unit", "--private-network"]);
        command.arg("--setenv=DEBIAN_FRONTEND=noninteractive").arg("--directory").arg(&self.dir).args(words);
        command
    }

    /// What `systemctl show` says of one property of a unit.
    ///
    /// # Errors
    /// When it is off.
    pub fn property(&self, unit: &str, property: &str) -> Result<String> {
        Ok(self.must(&["systemctl", "show", "--value", "--property", property, unit])?.trim().to_owned())
    }

    /// What a unit has logged since the PC was switched on.
    pub fn log(&self, unit: &str) -> String {
        self.must(&["journalctl", "--no-pager", "--output=cat", "--boot", "--unit", unit])
            .unwrap_or_else(|e| e.to_string())
    }

    /// The end of what its console has shown.
    pub fn console_log(&self) -> String {
        tail(&self.console)
    }

    /// Asks the PC to reboot, and waits until it has.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn reboot(&mut self) -> Result<()> {
        self.must(&["systemctl", "reboot", "--no-block"])?;
        let code = self.wait_for_the_end()?;
        ensure!(code == Some(REBOOT), "{} ended with {code:?} instead of asking for a reboot", self.name);
        self.boot()
    }

    /// Asks the PC to switch itself off, and waits until it has.
    ///
    /// # Errors
    /// When it does not.
    pub fn shut_down(&mut self) -> Result<()> {
        self.must(&["systemctl", "poweroff", "--no-block"])?;
        let code = self.wait_for_the_end()?;
        ensure!(code == Some(0), "{} ended with {code:?}", self.name);
        Ok(())
    }

    /// Pulls the plug: its init is killed, and with it, by the kernel, every process of the PC at the same moment.
    pub fn cut_power(&mut self) {
        if let Some(mut power) = self.power.take() {
            signal(power.init, "KILL");
            let gone = wait_until("it is off", LONG, || Ok((!power.nspawn.is_running()).then_some(())));
            if gone.is_err() {
                power.nspawn.kill();
            }
        }
    }

    fn wait_for_the_end(&mut self) -> Result<Option<i32>> {
        let mut power = self.power.take().with_context(|| format!("{} is off", self.name))?;
        match wait_until(&format!("{} ends", self.name), LONG, || Ok(power.nspawn.exit_code())) {
            Ok(code) => Ok(code),
            Err(error) => {
                signal(power.init, "KILL");
                bail!("{error:#}\n{}", tail(&self.console))
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.cut_power();
        self.cables.clear();
        self.network.kill();
        base::remove(&self.dir);
    }
}

/// The init of a PC: the child of its `systemd-nspawn` that runs systemd.
fn init_of(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let is_systemd = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == "systemd");
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_systemd)
}
