//! The local submission server (RFC 6409): takes the mail program's outgoing mail into the outbox.
//!
//! `250` after DATA means that the message is durable in the outbox. Nothing is delivered from here: that is the connector's affair,
//! when its gate allows.
//!
//! | Attack | Defence |
//! |---|---|
//! | SMTP smuggling: `LF.LF`, `CR.CR` and the like as an end of data that the next server sees and we do not | only `CRLF.CRLF` ends a message, and a message with a bare CR or LF is refused ([`data`]) |
//! | injecting commands by addresses or parameters | addresses are parsed, without control characters ([`address`]) |
//! | submission by another user of the PC | AUTH before MAIL; wrong passwords cost seconds |
//! | many messages at once | one allowance for all connections; a message beyond it is refused for now |
//! | messages, lines and recipient lists without end | 64 MiB, 4 KiB and 500; 20 wrong commands end the connection |

mod address;
pub(super) mod connection;
mod data;
mod headers;
mod session;
