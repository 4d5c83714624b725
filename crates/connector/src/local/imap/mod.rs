//! The local IMAP server: IMAP4rev1 (RFC 3501) with LITERAL+, SASL-IR, ID, ENABLE, IDLE, NAMESPACE, CHILDREN, UIDPLUS, UNSELECT, MOVE,
//! SPECIAL-USE, STATUS=SIZE and CONDSTORE.
//!
//! ```text
//! socket ─► connection ─► framing ─► session ─► mailboxes, messages, fetch, search ─► mail_store
//!   ▲                                   │ (on the store's thread)
//!   └───────────────────── bytes ◄──────┘
//! ```
//!
//! Commands are parsed by `imap-codec`; answers are written here ([`wire`]) and read back by imap-codec in tests. Only `connection`
//! knows sockets and time.
//!
//! Every mailbox is shared between sessions: what one changes, the others are told at the moments RFC 3501 permits ([`selected`]).
//! A message is `\Recent` in one of them only ([`recent`]).

pub(super) mod connection;
mod fetch;
mod framing;
mod login;
mod mailboxes;
mod messages;
mod pattern;
mod recent;
mod refusal;
mod search;
mod search_keys;
mod section;
mod selected;
mod session;
mod structure;
#[cfg(test)]
mod tests;
mod wire;
