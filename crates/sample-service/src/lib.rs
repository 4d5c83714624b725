//! A product that is not the connector: a tiny web service, run by the machine, restarted by systemd.
//!
//! The updater knows nothing of it but its signed manifest. It says on `GET /` which version it is, and it behaves as its
//! package says, so that one build makes good and broken versions ([`Behaviour`]). It stands on the standard library alone,
//! as a vendor's program might that has never heard of Lockstep.
//!
//! | module | room for |
//! |---|---|
//! | [`package`] | the tree that is packed, and its unit |
//! | [`serve`] | the service |

#![forbid(unsafe_code)]

pub mod package;
pub mod serve;

pub use package::{Behaviour, UNIT, UNIT_NAME, write_tree};
