//! The updater's parts against the real system: files, processes, users, sockets. Runs as root on Linux.

#![cfg(unix)]

mod adopt;
mod any_product;
#[cfg(target_os = "linux")]
mod crash_service;
mod crash_sim;
mod download;
mod download_places;
mod download_site;
mod driver;
mod driver_rig;
mod economy;
mod fixture;
mod hostile_environment;
mod hostile_ipc;
mod hostile_links;
mod hostile_words;
mod install;
mod install_attacks;
mod install_beside;
mod ipc_users;
mod launcher;
mod policies;
mod power_cut;
mod self_update;
mod self_update_kills;
mod site;
mod terminal_server;
#[cfg(target_os = "linux")]
mod tracer;
mod trust;
mod vendor;
mod windows;
