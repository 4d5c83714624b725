//! A PC: power, files, and what it is called.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use mail_rig::process::must;

use crate::{
    base::{base, folder},
    place::Place,
    screen::Screen,
    wine_command,
};

/// What Wine writes in place; everything else it replaces as whole files, so that hard links will do.
const REGISTRY: [&str; 3] = ["system.reg", "user.reg", "userdef.reg"];

/// A PC. It is switched off and its folder is removed when it is dropped.
#[derive(Debug)]
pub struct Pc {
    name: String,
    dir: PathBuf,
    pub(crate) place: Option<Place>,
    display: Option<String>,
    on: bool,
}

impl Pc {
    /// A new PC, switched off, in this machine's network and under its name.
    ///
    /// # Errors
    /// When the base prefix cannot be made or linked.
    pub fn new(name: &str) -> Result<Self> {
        let base = base()?;
        let pcs = folder().join("pcs");
        fs::create_dir_all(&pcs)?;
        sweep(&pcs)?;
        let dir = fs::canonicalize(&pcs)?.join(format!("{name}.{}", std::process::id()));
        ensure!(!dir.exists(), "there is a PC {name} already");
        must(Command::new("cp").arg("-al").arg(&base).arg(&dir))?;
        for file in REGISTRY {
            let (from, to) = (base.join(file), dir.join(file));
            fs::remove_file(&to)?;
            fs::copy(&from, &to).with_context(|| to.display().to_string())?;
        }
        let pc = Self { name: name.into(), dir, place: None, display: None, on: false };
        pc.own_machine_guid()?;
        Ok(pc)
    }

    /// A new PC, switched off, with a network of its own, in which nothing is reachable but what is plugged in
    /// ([`Pc::plug`]), and with its name as host name. Needs root.
    ///
    /// # Errors
    /// As [`Pc::new`], and when there are no namespaces to be had.
    pub fn apart(name: &str) -> Result<Self> {
        let mut pc = Self::new(name)?;
        pc.rename(&[("Hostname", name), ("ComputerName", &name.to_uppercase())])?;
        pc.place = Some(Place::new(name, &pc.beside("place"))?);
        Ok(pc)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The prefix, as seen from outside.
    pub fn prefix(&self) -> &Path {
        &self.dir
    }

    /// Its drive C:, as seen from outside.
    pub fn c(&self) -> PathBuf {
        self.dir.join("drive_c")
    }

    /// A file of drive C: as seen from outside: `C:\Program Files\x` or `Program Files\x`. What exists is found whatever its
    /// case, as on Windows.
    pub fn path(&self, windows: &str) -> PathBuf {
        let below = windows.strip_prefix(r"C:\").or_else(|| windows.strip_prefix(r"c:\")).unwrap_or(windows);
        below.split('\\').filter(|part| !part.is_empty()).fold(self.c(), |dir, part| {
            let exact = dir.join(part);
            if exact.exists() {
                return exact;
            }
            let same = |name: &str| name.to_lowercase() == part.to_lowercase();
            let found = fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path());
            let mut found = found.filter(|p| p.file_name().and_then(|n| n.to_str()).is_some_and(same));
            found.next().unwrap_or(exact)
        })
    }

    /// What the PC calls a file: `C:\…` on its own drive, `Z:\…` elsewhere.
    pub fn windows(&self, path: &Path) -> String {
        let (drive, below) = path.strip_prefix(self.c()).map_or(("Z:", path), |below| ("C:", below));
        let below = below.display().to_string().replace('/', "\\");
        format!("{drive}\\{}", below.trim_start_matches('\\'))
    }

    /// Gives it a screen, from the next start on.
    ///
    /// # Errors
    /// When it is on: Wine looks for a screen once.
    pub fn show_on(&mut self, screen: &Screen) -> Result<()> {
        ensure!(!self.on, "{} is on already", self.name);
        self.display = Some(screen.display().to_owned());
        Ok(())
    }

    /// Makes a port of this machine's loopback address reachable under the same number on the PC's own.
    ///
    /// # Errors
    /// When it has no network of its own ([`Pc::apart`]), or the port is taken.
    pub fn plug(&mut self, port: u16) -> Result<()> {
        let socket = self.beside(&format!("{port}.socket"));
        let log = self.beside("cables");
        self.place
            .as_mut()
            .with_context(|| format!("{} has no network of its own", self.name))?
            .plug(port, &socket, &log)
    }

    /// The words that start a program of Linux in its network, such as its user's mail program; none where it has none of its own.
    pub fn within(&self) -> Vec<String> {
        self.place.as_ref().map(Place::prefix).unwrap_or_default()
    }

    /// Pulls every cable.
    pub fn unplug(&mut self) {
        if let Some(place) = &mut self.place {
            place.unplug();
        }
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Switches it on and waits until Windows has started; services that start by themselves are being started then.
    ///
    /// # Errors
    /// When it is on already, or Wine does not start.
    pub fn power_on(&mut self) -> Result<()> {
        ensure!(!self.on, "{} is on already", self.name);
        self.on = true;
        // Stays when the last program has ended, as a PC does.
        for program in [["wineserver", "-p"].as_slice(), &["wineboot"]] {
            self.detached(program)?;
        }
        Ok(())
    }

    /// Pulls the plug: every process of the PC is killed. What Wine keeps of the registry in memory is written, which a real
    /// power cut would not do.
    ///
    /// # Errors
    /// When Wine cannot be asked.
    pub fn power_cut(&mut self) -> Result<()> {
        self.on = false;
        // 1: there was none.
        let mut cut = self.command("wineserver");
        cut.arg("-k")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("wineserver")?;
        self.detached(&["wineserver", "-w"])
    }

    /// Shuts it down: programs and services are told to end first.
    ///
    /// # Errors
    /// When Wine cannot be asked.
    pub fn off(&mut self) -> Result<()> {
        if self.on {
            let mut end = self.command("timeout");
            end.args(["30", "wineboot", "--end-session", "--shutdown"]);
            // Whatever hinders it, the plug is pulled next.
            let _ = end.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        self.power_cut()
    }

    /// A command that runs in the PC's prefix and place; `program` is one of Linux, such as `wine`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = match &self.place {
            None => wine_command(program, &self.dir),
            Some(place) => {
                let prefix = place.prefix();
                let mut command = wine_command(&prefix[0], &self.dir);
                command.args(&prefix[1..]).arg(program);
                command
            }
        };
        if let Some(display) = &self.display {
            command.env("DISPLAY", display);
        }
        command
    }

    /// A file that belongs to the PC and lies beside its folder.
    pub(crate) fn beside(&self, what: &str) -> PathBuf {
        let mut name = self.dir.as_os_str().to_owned();
        name.push(format!(".{what}"));
        name.into()
    }

    /// Runs a command whose children stay and would hold our pipes open.
    fn detached(&self, words: &[&str]) -> Result<()> {
        let mut command = self.command(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().with_context(|| format!("starting {words:?}"))?;
        ensure!(status.success(), "{}: {words:?} failed with {status}", self.name);
        Ok(())
    }

    /// Copies would share the number that Windows makes for each installation.
    fn own_machine_guid(&self) -> Result<()> {
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        self.rename(&[("MachineGuid", uuid.trim())])
    }

    /// Gives values of the machine's registry that are there other texts, while it is off. Windows keeps its host name there too; a
    /// start of Wine does not always bring it up to date.
    fn rename(&self, values: &[(&str, &str)]) -> Result<()> {
        let file = self.dir.join("system.reg");
        let text = fs::read_to_string(&file)?;
        let changed = |line: &str| {
            let is = |name: &str| line.starts_with(&format!("\"{name}\"=\""));
            let found = values.iter().find(|(name, _)| is(name));
            found.map_or_else(|| line.to_owned(), |(name, value)| format!("\"{name}\"=\"{value}\""))
        };
        let lines: Vec<String> = text.lines().map(changed).collect();
        Ok(fs::write(&file, lines.join("\n") + "\n")?)
    }
}

impl Drop for Pc {
    fn drop(&mut self) {
        if self.on
            && let Err(error) = self.power_cut()
        {
            eprintln!("{} may still be on: {error:#}", self.name);
        }
        self.place = None;
        if std::thread::panicking() && std::env::var_os("LOCKSTEP_KEEP_PCS").is_some() {
            eprintln!("{} is left for a look", self.dir.display());
            return;
        }
        remove(&self.dir);
    }
}

/// Removes what test programs that were killed have left: their number stands in the names.
fn sweep(pcs: &Path) -> Result<()> {
    for entry in fs::read_dir(pcs)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let owner = name.split('.').nth(1).and_then(|pid| pid.parse::<u32>().ok());
        if path.is_dir() && owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Its PC may still be on; there is one already, or there is none.
            let _ = wine_command("wineserver", &path).arg("-k").stderr(Stdio::null()).status();
            remove(&path);
        }
    }
    Ok(())
}

/// Removes a PC's folder and what lies beside it under the same name.
fn remove(dir: &Path) {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name().and_then(|n| n.to_str())) else { return };
    let beside = format!("{name}.");
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_str().is_some_and(|n| n == name || n.starts_with(&beside)) {
            continue;
        }
        if let Err(error) = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) } {
            // Two tests may sweep the same.
            if error.kind() != std::io::ErrorKind::NotFound {
                eprintln!("{} is left: {error}", path.display());
            }
        }
    }
}
