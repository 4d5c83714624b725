//! Where everything lies on a PC, below one root directory (`/` on a real machine).
//!
//! On a real machine with Windows, which `/` stands for there too, programs lie in `%ProgramFiles%\Lockstep` and state in
//! `%ProgramData%\Lockstep`; below another root everything lies as on Linux.

use std::path::{Path, PathBuf};

use protocol::{Version, product::ProductId};

use crate::platform;

/// The longest path that a Unix socket can be bound to, in bytes (`sun_path`, unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Beside the products, and none itself.
pub const SUPERVISOR_DIR: &str = "supervisor";
/// The same: on Windows, what starts users' programs lies there.
pub const LAUNCHER_DIR: &str = "launcher";
/// The same: on Windows, the copy that Windows Installer keeps lies there.
pub const SETUP_DIR: &str = "setup";

/// The directories and files of one PC. Every path the service touches comes from here, never from a caller.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    /// On a real machine with Windows: where programs lie, and where state.
    known: Option<(PathBuf, PathBuf)>,
}

/// A root directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadRoot {
    /// A relative root would depend on where the service was started.
    #[error("the root directory {0} is not an absolute path; write it in full")]
    Relative(PathBuf),
    /// The socket's path would not fit.
    #[error("the root directory {0} is too deep: its socket's path must not be longer than {MAX_SOCKET_PATH} bytes")]
    TooDeep(PathBuf),
}

impl Layout {
    /// The layout below `root`.
    ///
    /// # Errors
    /// [`BadRoot`] when the path is relative or so long that no socket could be made below it.
    pub fn new(root: &Path) -> Result<Self, BadRoot> {
        let known = platform::known_layout(root);
        if !root.is_absolute() && known.is_none() {
            return Err(BadRoot::Relative(root.into()));
        }
        let layout = Self { root: root.into(), known };
        if cfg!(unix) && layout.socket().as_os_str().len() > MAX_SOCKET_PATH {
            return Err(BadRoot::TooDeep(root.into()));
        }
        Ok(layout)
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether this is the whole computer's, and not below a directory of somebody's.
    pub fn is_whole_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Machine policy: which site, which vendor. Written by an administrator only.
    pub fn etc(&self) -> PathBuf {
        self.known.as_ref().map_or_else(|| self.below(&["etc", "lockstep"]), |(_, state)| state.join("etc"))
    }

    /// The site profile.
    pub fn site(&self) -> PathBuf {
        self.etc().join("site.json")
    }

    /// The machine's own settings.
    pub fn settings(&self) -> PathBuf {
        self.etc().join("updater.toml")
    }

    /// The pinned TUF root of the vendor.
    pub fn vendor_root(&self) -> PathBuf {
        self.etc().join("root.json")
    }

    /// The service's own directory, 0700.
    pub fn state_dir(&self) -> PathBuf {
        let real = self.known.as_ref().map(|(_, state)| state.join("updater"));
        real.unwrap_or_else(|| self.below(&["var", "lib", "lockstep", "updater"]))
    }

    /// Device id, key and sequence number, 0600.
    pub fn identity(&self) -> PathBuf {
        self.state_dir().join("identity.json")
    }

    /// Verified TUF metadata.
    pub fn tuf(&self) -> PathBuf {
        self.state_dir().join("tuf")
    }

    /// What is being done to a slot right now.
    pub fn journal(&self) -> PathBuf {
        self.state_dir().join("journal.json")
    }

    /// What must outlive the process.
    pub fn state(&self) -> PathBuf {
        self.state_dir().join("state.json")
    }

    /// What happened here: the newest entries, one line of JSON each.
    pub fn history(&self) -> PathBuf {
        self.state_dir().join("history.jsonl")
    }

    /// The state file as it was before the updater's own switch, for the version before.
    pub fn state_before(&self) -> PathBuf {
        self.state_dir().join("state-before.json")
    }

    /// Which version of the updater has not come up yet; see [`crate::self_update`].
    pub fn trial(&self) -> PathBuf {
        self.state_dir().join("trial")
    }

    /// Which version of the updater the supervisor has left, and why.
    pub fn trial_failed(&self) -> PathBuf {
        self.state_dir().join("trial-failed")
    }

    /// The supervisor, which no version of the updater replaces.
    pub fn supervisor(&self) -> PathBuf {
        self.products().join(SUPERVISOR_DIR).join(program("lockstep-supervisor"))
    }

    /// What starts users' programs, which no version replaces either: on Windows, where a version's own is called otherwise each time.
    pub fn launcher(&self) -> Option<PathBuf> {
        cfg!(windows).then(|| self.products().join(LAUNCHER_DIR).join(program("lockstep-launcher")))
    }

    /// Held by the one service that runs.
    pub fn lock(&self) -> PathBuf {
        self.state_dir().join("lock")
    }

    /// Held by whoever changes versions, while it does: the service or an installer.
    pub fn slots_lock(&self) -> PathBuf {
        self.state_dir().join("slots.lock")
    }

    /// What an installer intends, apart from what the service does.
    pub fn install_journal(&self) -> PathBuf {
        self.state_dir().join("install-journal.json")
    }

    /// An installer's copy of what it was given, 0700.
    pub fn install_copy(&self) -> PathBuf {
        self.state_dir().join("install")
    }

    /// Packages on their way, 0700.
    pub fn downloads(&self) -> PathBuf {
        self.state_dir().join("downloads")
    }

    /// All products.
    pub fn products(&self) -> PathBuf {
        self.known.as_ref().map_or_else(|| self.below(&["opt", "lockstep"]), |(programs, _)| programs.clone())
    }

    /// One product.
    pub fn product(&self, product: &ProductId) -> PathBuf {
        self.products().join(product.as_str())
    }

    /// A product's complete versions.
    pub fn versions(&self, product: &ProductId) -> PathBuf {
        self.product(product).join("versions")
    }

    /// One complete version.
    pub fn version(&self, product: &ProductId, version: &Version) -> PathBuf {
        self.versions(product).join(version.to_string())
    }

    /// The pointer that says which version is active.
    pub fn current(&self, product: &ProductId) -> PathBuf {
        self.product(product).join("current")
    }

    /// The active version's program of the updater. Where the pointer is no link it is followed now, so that what was started
    /// from there stays in sight when the pointer moves on.
    pub fn updater_program(&self) -> PathBuf {
        let product = ProductId::updater();
        let current = self.current(&product);
        let active = match platform::read_pointer(&current) {
            Ok(target) if cfg!(windows) => self.product(&product).join(target),
            _ => current,
        };
        active.join("bin").join(program("lockstep-updater"))
    }

    /// Where the socket lies, 0755.
    pub fn run_dir(&self) -> PathBuf {
        self.known.as_ref().map_or_else(|| self.below(&["run", "lockstep"]), |(_, state)| state.join("run"))
    }

    /// The socket that users' programs talk to, 0666; on Windows a named pipe.
    pub fn socket(&self) -> PathBuf {
        lockstep_client::socket(&self.root)
    }

    /// The file that holds the PC's name. `None`: there is none on a whole Windows computer, where anybody may make folders beside
    /// the system's.
    pub fn hostname(&self) -> Option<PathBuf> {
        self.known.is_none().then(|| self.below(&["etc", "hostname"]))
    }

    fn below(&self, names: &[&str]) -> PathBuf {
        names.iter().fold(self.root.clone(), |path, name| path.join(name))
    }
}

/// What the system calls a program's file.
pub fn program(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_relative_or_too_deep_root_is_refused() {
        assert!(Layout::new(Path::new("/")).is_ok());
        assert!(matches!(Layout::new(Path::new("pc")), Err(BadRoot::Relative(_))));
        let deep = format!("/{}", "d".repeat(90));
        assert!(matches!(Layout::new(Path::new(&deep)), Err(BadRoot::TooDeep(_))));
    }
}
