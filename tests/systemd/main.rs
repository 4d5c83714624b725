//! The service as PCs run it: under a real systemd, installed by a real dpkg, with a real site.
//!
//! | module | room for |
//! |---|---|
//! | [`scene`] | a site and its PCs |
//! | [`debian`] | the Debian packages: installed, upgraded, removed, purged |
//! | [`units`] | how much of the system the services can reach |

mod debian;
mod scene;
mod units;
