//! The two switches. Their place is `server.toml`; console and API change them there.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::config::{Config, ConfigError, set_switch};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Know by name who would be cut off.
    Readiness,
    /// Allow anonymous data to be sent to the vendor.
    Statistics,
}

impl Switch {
    /// By its name in the API: `readiness` or `statistics`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "readiness" => Some(Self::Readiness),
            "statistics" => Some(Self::Statistics),
            _ => None,
        }
    }

    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Readiness => ("readiness", "enabled"),
            Self::Statistics => ("statistics", "contribute"),
        }
    }
}

/// Their present state, as in the file.
#[derive(Debug)]
pub struct Switches {
    file: PathBuf,
    readiness: AtomicBool,
    statistics: AtomicBool,
    busy: tokio::sync::Mutex<()>,
    storing: RwLock<()>,
}

/// Whether names may be stored. While a value of this type lives, that stays so.
#[derive(Debug)]
pub struct Naming<'a> {
    /// Whether readiness reports are on.
    pub on: bool,
    _storing: RwLockReadGuard<'a, ()>,
}

impl Switches {
    /// As the configuration file has them.
    pub fn new(file: &Path, config: &Config) -> Self {
        Self {
            file: file.to_owned(),
            readiness: AtomicBool::new(config.readiness.enabled),
            statistics: AtomicBool::new(config.statistics.contribute),
            busy: tokio::sync::Mutex::default(),
            storing: RwLock::default(),
        }
    }

    /// Whether it is on.
    pub fn is_on(&self, switch: Switch) -> bool {
        self.cell(switch).load(Ordering::SeqCst)
    }

    /// Asks whether names may be stored. Keep the answer until they are.
    pub async fn naming(&self) -> Naming<'_> {
        let storing = self.storing.read().await;
        Naming { on: self.is_on(Switch::Readiness), _storing: storing }
    }

    /// Waits until nobody is storing names; nobody does while the guard lives.
    pub async fn nobody_stores_names(&self) -> RwLockWriteGuard<'_, ()> {
        self.storing.write().await
    }

    /// Changes it, in the file first.
    ///
    /// # Errors
    /// [`ConfigError`]; then nothing has changed.
    pub async fn set(&self, switch: Switch, on: bool) -> Result<(), ConfigError> {
        let _one_at_a_time = self.busy.lock().await;
        let file = self.file.clone();
        let (section, key) = switch.place();
        let written = tokio::task::spawn_blocking(move || set_switch(&file, section, key, on)).await;
        written.unwrap_or_else(|stopped| {
            Err(ConfigError::Write { path: self.file.clone(), source: std::io::Error::other(stopped) })
        })?;
        self.cell(switch).store(on, Ordering::SeqCst);
        Ok(())
    }

    fn cell(&self, switch: Switch) -> &AtomicBool {
        match switch {
            Switch::Readiness => &self.readiness,
            Switch::Statistics => &self.statistics,
        }
    }
}
