//! The updater's parts against the real system: files, processes, users, sockets. Runs as root on Linux.

#![cfg(unix)]

#[cfg(target_os = "linux")]
mod crash_service;
mod crash_sim;
mod download;
mod download_places;
mod download_site;
mod driver;
mod economy;
mod fixture;
mod install;
mod install_attacks;
mod install_beside;
mod ipc_users;
mod launcher;
mod power_cut;
mod self_update;
mod site;
#[cfg(target_os = "linux")]
mod tracer;
mod trust;
mod vendor;
