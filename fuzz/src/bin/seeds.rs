//! Writes the inputs that the fuzzers begin with and that are not written by hand: `cargo run --bin seeds`.

use std::{fs, path::Path};

use lockstep_fuzz::targets;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let seeds = targets::tuf_metadata_seeds();
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(corpus.join("tuf_metadata").join(format!("{number:02}")), seed)?;
    }
    // The first seed is the first root as it is served, behind one byte.
    let root = &seeds[0][1..];
    fs::write(corpus.join("tuf_root/root"), root)?;
    let trailer = release::carried_root::trailer(root).map_err(std::io::Error::other)?;
    fs::write(corpus.join("carried_root/carried"), [b"a program".as_slice(), &trailer].concat())?;

    let tree = tempfile::tempdir()?;
    fs::create_dir(tree.path().join("bin"))?;
    fs::write(tree.path().join("bin/program"), b"#!/bin/sh\n")?;
    fs::write(tree.path().join("readme.txt"), b"words")?;
    let description = serde_json::from_slice(include_bytes!("../description.json"))?;
    let mut packed = Vec::new();
    release::package::pack(tree.path(), &description, &mut packed, &mut |_| {}).map_err(std::io::Error::other)?;
    fs::write(corpus.join("package/packed"), &packed)
}
