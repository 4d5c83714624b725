//! `lockstep-updater remove`: what the package manager does not know of goes, when it takes the package away for good.
//!
//! The versions below each product, the device's identity, and which site it belonged to. What the package itself has brought stays
//! for the package manager; users' mail lies in their own folders, and stays.

use std::{fs, io, path::Path};

use super::{InstallError, check_rights, disk};
use crate::{
    layout::Layout,
    slots::{Disk, RealDisk},
};

/// Removes everything: see the module's header. What cannot be removed does not keep the rest.
///
/// # Errors
/// [`InstallError::NotRoot`]; the first thing that is left.
pub fn remove(layout: &Layout) -> Result<(), InstallError> {
    check_rights(layout)?;
    let mut first = None;
    let mut gone = |path: &Path| {
        if let Err(error) = RealDisk.remove_tree(path) {
            tracing::warn!(%error, path = %path.display(), "this is left");
            first.get_or_insert_with(|| disk(path)(error));
        }
    };
    let products = match fs::read_dir(layout.products()) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().map_err(disk(&layout.products()))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(disk(&layout.products())(e)),
    };
    for product in products {
        // What has no versions is not a product: the supervisor, and the package's own.
        if product.path().join("versions").is_dir() {
            gone(&product.path());
        }
    }
    for dir in [layout.run_dir(), layout.state_dir(), layout.etc()] {
        gone(&dir);
    }
    if let Some(ours) = layout.state_dir().parent() {
        // It stays when there is something in it, which is then told already or not ours.
        let _ = fs::remove_dir(ours);
    }
    first.map_or(Ok(()), Err)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn versions_identity_and_policy_go_and_what_the_package_brought_stays() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("root")).unwrap();
        remove(&layout).unwrap();
        let products = layout.products();
        for path in ["updater/versions/1.0.0/bin/x", "connector/versions/7.2.0/bin/y", "supervisor/s", "setup/z"] {
            let path = products.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for path in [layout.site(), layout.identity()] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        remove(&layout).unwrap();
        let mut left: Vec<_> = fs::read_dir(&products).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["setup", "supervisor"]);
        assert!(!layout.etc().exists() && !layout.state_dir().exists());
    }
}
