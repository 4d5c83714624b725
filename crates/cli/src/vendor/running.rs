//! What `lockstep pack` is told about running instances: how they get the new version, and when it counts as healthy.

use release::package::{Health, Restart, UnitName};

/// The manifest's `restart` and `health`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunningArgs {
    /// The product is a service of the machine: after an upgrade the updater restarts this unit of systemd, and goes back
    /// when it does not come up. Without this, users run the product and are told to restart it
    #[arg(long, value_name = "NAME.service")]
    pub systemd_unit: Option<UnitName>,
    /// Seconds that the self-check may take, 1 to 300
    #[arg(long, value_name = "SECONDS", default_value_t = Health::default().self_check_seconds)]
    pub self_check_seconds: u16,
    /// Seconds that the restarted unit may take until it is active, 1 to 600
    #[arg(long, value_name = "SECONDS", default_value_t = Health::default().ready_seconds, requires = "systemd_unit")]
    pub ready_seconds: u16,
    /// So many crashes of the restarted unit make a version broken, 1 to 20 ...
    #[arg(long, value_name = "COUNT", default_value_t = Health::default().crashes, requires = "systemd_unit")]
    pub crashes: u16,
    /// ... within so many seconds after it has become active, 1 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = Health::default().within_seconds, requires = "systemd_unit")]
    pub within_seconds: u16,
}

impl RunningArgs {
    /// For the manifest's `restart`.
    pub fn restart(&self) -> Restart {
        self.systemd_unit.clone().map_or(Restart::Watch, Restart::Systemd)
    }

    /// For the manifest's `health`; its ranges are checked where it is packed.
    pub fn health(&self) -> Health {
        Health {
            self_check_seconds: self.self_check_seconds,
            ready_seconds: self.ready_seconds,
            crashes: self.crashes,
            within_seconds: self.within_seconds,
        }
    }
}
