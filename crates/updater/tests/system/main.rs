//! The updater's parts against the real system: files, processes, users, sockets. Runs as root on Linux.

#![cfg(unix)]

mod download;
mod driver;
mod fixture;
mod install;
mod ipc_users;
mod launcher;
mod power_cut;
mod vendor;
