//! The vendor's half: keys, packages, and the signed repository.

mod editor;
mod inspect;
mod key_replace;
mod key_ring;
mod keys;
mod pack;
mod passphrase;
mod publish;
mod published;
mod redo;
mod release_add;
mod running;
mod staging;

pub use inspect::{InspectArgs, inspect};
pub use key_replace::{ReplaceArgs, replace};
pub use key_ring::{InitArgs, init};
pub use pack::{PackArgs, pack};
pub use publish::{PublishArgs, RenewArgs, publish, renew};
pub use release_add::{AddArgs, DropArgs, ListArgs, add, drop_waiting, list};
