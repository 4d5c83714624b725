//! The IMAP client towards the mail server.
//!
//! Its own, because it must say its ID before the login, because a response that it does not understand must never cost
//! a message (parsers of the whole grammar refuse what is odd; by its source, one that was considered panics at `INTERNALDATE NIL`), and
//! because a connection must be droppable at any point.
//!
//! | module | room for |
//! |---|---|
//! | [`framing`] | bytes into whole responses, no I/O |
//! | [`value`] | a response's shape: atoms, strings, lists |
//! | [`response`] | what the connector understands of it |
//! | [`date`] | dates as IMAP writes them |
//! | [`command`] | commands with their strings and literals |
//! | [`connection`] | one TLS connection: sends a command, gives its responses |
//! | [`session`] | login with the connector's name and version, and the commands that the synchronisation needs |

pub mod command;
pub mod connection;
pub mod date;
pub mod framing;
pub mod response;
pub mod session;
pub mod value;
