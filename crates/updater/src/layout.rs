//! Where everything lies on a PC, below one root directory (`/` on a real machine).

use std::path::{Path, PathBuf};

use protocol::{Version, product::ProductId};

/// The longest path that a Unix socket can be bound to, in bytes (`sun_path`, unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Beside the products, and none itself.
pub const SUPERVISOR_DIR: &str = "supervisor";

/// The directories and files of one PC. Every path the service touches comes from here, never from a caller.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
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
        if !root.is_absolute() {
            return Err(BadRoot::Relative(root.into()));
        }
        let layout = Self { root: root.into() };
        if layout.socket().as_os_str().len() > MAX_SOCKET_PATH {
            return Err(BadRoot::TooDeep(root.into()));
        }
        Ok(layout)
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Machine policy: which site, which vendor. Written by an administrator only.
    pub fn etc(&self) -> PathBuf {
        self.root.join("etc/lockstep")
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
        self.root.join("var/lib/lockstep/updater")
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
        self.products().join(SUPERVISOR_DIR).join("lockstep-supervisor")
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
        self.root.join("opt/lockstep")
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

    /// The link that says which version is active.
    pub fn current(&self, product: &ProductId) -> PathBuf {
        self.product(product).join("current")
    }

    /// Where the socket lies, 0755.
    pub fn run_dir(&self) -> PathBuf {
        self.root.join("run/lockstep")
    }

    /// The socket that users' programs talk to, 0666.
    pub fn socket(&self) -> PathBuf {
        self.root.join(protocol::ipc::SOCKET)
    }

    /// The file that holds the PC's name.
    pub fn hostname(&self) -> PathBuf {
        self.root.join("etc/hostname")
    }
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
