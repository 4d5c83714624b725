//! Both servers on real sockets, used by real clients: Python's imaplib and smtplib, curl, mbsync.
//!
//! A client program that is not installed fails its test, with the name of the package to install.

mod curl;
mod harness;
mod mbsync;
mod neomutt;
mod python;
mod samples;
mod sockets;
