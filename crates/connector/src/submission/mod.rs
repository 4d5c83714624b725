//! The submission client towards the mail server (RFC 6409 over RFC 5321).
//!
//! | module | room for |
//! |---|---|
//! | [`reply`] | the server's replies, and dots; no I/O |
//! | [`client`] | one connection: TLS, login, one message after the other |

pub mod client;
pub mod reply;
