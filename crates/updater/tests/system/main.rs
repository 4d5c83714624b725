//! The updater's parts against the real system: files, processes, users, sockets. Runs as root on Linux.

#![cfg(unix)]

mod download;
mod driver;
mod fixture;
mod install;
mod install_attacks;
mod install_beside;
mod ipc_users;
mod launcher;
mod policies;
mod power_cut;
mod site;
mod trust;
mod vendor;
