//! The service as PCs run it: under a real systemd, installed by a real dpkg, with a real site.
//!
//! | module | room for |
//! |---|---|
//! | [`scene`] | a site and its PCs |
//! | [`debian`] | the Debian packages: installed, upgraded, removed, purged |
//! | [`power`] | the installer of the integration page; reboots, power cuts, a service that hangs |
//! | [`services`] | a product that is a service of the machine: updated, and rolled back |
//! | [`units`] | how much of the system the services can reach |

mod debian;
mod power;
mod scene;
mod services;
mod units;
