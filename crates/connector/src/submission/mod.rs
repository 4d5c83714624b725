//! The submission client towards the mail server (RFC 6409 over RFC 5321).
//!
//! Small and its own, because the mail server may have to be believed by its very certificate (see [`tls_trust`]), which
//! the submission libraries' TLS settings cannot express, and because the outbox must know exactly whether a message was
//! taken, refused for now, or refused for good, and by which recipient.
//!
//! | module | room for |
//! |---|---|
//! | [`reply`] | the server's replies, and dots; no I/O |
//! | [`client`] | one connection: TLS, login, one message after the other |

pub mod client;
pub mod reply;
