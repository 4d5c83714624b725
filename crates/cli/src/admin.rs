//! The administrator's half: asking the site's server, and telling it.

mod client;
mod cut_over;
mod mail_gate;
mod policy;
mod preflight;
mod settings;
mod status;

use std::path::PathBuf;

use client::Server;
pub use client::http_client;

pub use cut_over::{CutOverArgs, cut_over};
pub use mail_gate::mail_gate;
pub use policy::{HoldCommand, PolicyCommand, RetryArgs, hold, policy, retry};
pub use preflight::{PreflightArgs, preflight};
pub use settings::{ServerVersionArgs, SettingArgs, WarnArgs, refresh, set, set_server_version, warn};
pub use status::{StatusArgs, status};

/// Where the server keeps its data.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    /// The server's data directory, with admin.json
    #[arg(long, env = "LOCKSTEP_DATA", default_value = "/var/lib/lockstep-server", value_name = "DIR")]
    pub data: PathBuf,
}

impl DataArgs {
    /// The server that runs on this data.
    fn server(&self) -> anyhow::Result<Server> {
        Server::open(&self.data)
    }
}

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0
    Good,
    /// 2: users would be cut off, or were not all back in time.
    CutOff,
    /// 3: readiness is not known.
    Unknown,
}
