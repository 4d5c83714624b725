//! From one schema to the next and back again: with everything in it, killed anywhere, on a full disk.

mod fixtures;
mod full_disk;
mod killed;
mod mailbox;
mod steps;
mod too_new;

use mail_store::{Schema, Store};
use std::path::Path;

/// As the program of this schema's version.
fn open(path: &Path, schema: Schema) -> Store {
    let store = Store::open_limited(path, schema, &mut |_| {}).unwrap();
    assert_eq!(store.schema(), schema);
    store
}
