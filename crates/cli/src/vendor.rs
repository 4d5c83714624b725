//! The vendor's half: keys, packages, and the signed repository.

mod authority;
mod ceremony;
mod ceremony_commands;
mod check;
mod delegations;
mod editor;
mod envelope;
mod expiry;
mod facts;
mod inspect;
mod installer;
mod key_new;
mod key_ref;
mod key_replace;
mod key_ring;
mod keys;
mod pack;
mod passphrase;
mod pkcs11_uri;
mod plan;
mod prepare;
mod publish;
mod published;
mod redo;
mod release_add;
mod role_commands;
mod running;
mod signers;
mod source;
mod staging;
mod state;
mod token;
mod words;

pub use ceremony_commands::{
    CollectArgs, DropStagingArgs, PrepareArgs, SignArgs, StatusArgs, collect, drop_staging, prepare_signing, sign,
    staging_status,
};
pub use check::{CheckArgs, check};
pub use inspect::{InspectArgs, inspect};
pub use key_new::{NewArgs, ShowArgs, new_key, show_key};
pub use key_replace::{ReplaceArgs, replace};
pub use key_ring::{InitArgs, init};
pub use pack::{PackArgs, pack};
pub use publish::{PublishArgs, RenewArgs, publish, renew};
pub use release_add::{AddArgs, DropArgs, ListArgs, add, drop_waiting, list};
pub use role_commands::{
    AddKeyArgs, BinsArgs, DelegateArgs, ListDelegationsArgs, RemoveKeyArgs, RenewRoleArgs, SetArgs, UndelegateArgs,
    add_key, bins, delegate, list_delegations, remove_key, renew_role, set_role, undelegate,
};
