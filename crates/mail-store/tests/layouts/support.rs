//! Opening a file of one schema with a program of another.

use mail_store::{Schema, Store};
use std::path::Path;

/// Makes the file if need be, takes it to `file`, and opens it with a program limited to `program`.
pub fn open(path: &Path, file: Schema, program: Schema) -> Store {
    drop(Store::open_limited(path, file, &mut |_| {}).unwrap());
    let store = Store::open_limited(path, program, &mut |_| {}).unwrap();
    assert_eq!(store.schema(), program);
    store
}
