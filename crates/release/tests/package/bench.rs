//! Trees to pack, and packages made by hand.

use std::{fs, path::Path};

use release::package::{Description, MAGIC, Manifest, pack};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub fn description() -> Description {
    serde_json::from_value(json!({
        "product": "connector", "version": "7.3.0", "os": "linux", "arch": "x86_64", "program": "bin/connector",
        "self_check": ["self-check"],
    }))
    .unwrap()
}

/// Writes files below a directory; those in `bin/` are executable.
pub fn tree(dir: &Path, files: &[(&str, &[u8])]) {
    for (path, content) in files {
        let path_on_disk = dir.join(path);
        fs::create_dir_all(path_on_disk.parent().unwrap()).unwrap();
        fs::write(&path_on_disk, content).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = if path.starts_with("bin/") { 0o700 } else { 0o600 };
            fs::set_permissions(&path_on_disk, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

pub fn packed(dir: &Path) -> (Vec<u8>, Manifest) {
    let mut bytes = Vec::new();
    let manifest = pack(dir, &description(), &mut bytes, &mut |_| {}).unwrap();
    (bytes, manifest)
}

/// A file of a package made by hand.
pub fn file(path: &str, content: &[u8]) -> Value {
    json!({ "path": path, "size": content.len(), "mode": 0o644, "sha256": hex::encode(Sha256::digest(content)) })
}

pub fn program() -> Value {
    let mut program = file("bin/connector", b"run");
    program["mode"] = 0o755.into();
    program
}

pub fn manifest(files: Vec<Value>) -> Value {
    json!({ "v": 1, "product": "connector", "version": "7.3.0", "os": "linux", "arch": "x86_64",
            "program": "bin/connector", "files": files })
}

/// A package of any manifest and any content, however little they fit.
pub fn forge(manifest: &Value, content: &[u8]) -> Vec<u8> {
    forge_frame(manifest, &zstd::encode_all(content, 3).unwrap())
}

pub fn forge_frame(manifest: &Value, frame: &[u8]) -> Vec<u8> {
    let manifest = manifest.to_string();
    let length = u32::try_from(manifest.len()).unwrap();
    [MAGIC, &length.to_be_bytes(), manifest.as_bytes(), frame].concat()
}
