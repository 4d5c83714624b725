//! The cases that the TUF conformance suite names, against the adapter that the suite runs, and some that it lacks.
//!
//! Each module stands for one of the suite's files; each test is one case of it, with the same repository, the same commands,
//! and the same expectations about exit codes, requests and the files in both directories.

#![cfg(unix)]

/// One test for each row of a table.
macro_rules! cases {
    ($run:ident: $($name:ident => $case:expr),+ $(,)?) => {
        $(#[test]
        fn $name() {
            $run($case);
        })+
    };
}

mod basic;
mod beyond;
mod client;
mod delegations;
mod downloads;
mod expiry;
mod keys;
mod names;
mod rollback;
mod rotation;
mod server;
mod signer;
mod simulator;
