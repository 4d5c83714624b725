//! What goes in comes out, and always in the same bytes.

use std::{fs, io::Cursor, time::Duration, time::SystemTime};

use proptest::prelude::*;
use release::package::{Error, pack, read_manifest, unpack, verify};

use crate::bench::{description, packed, tree};

const FILES: [(&str, &[u8]); 4] =
    [("bin/connector", b"#!/bin/sh\n"), ("share/a.txt", b"aaa"), ("share/deep/b.bin", &[0, 255, 7]), ("empty", b"")];

#[test]
fn what_goes_in_comes_out_with_plain_modes() {
    let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tree(from.path(), &FILES);
    let (bytes, manifest) = packed(from.path());
    assert_eq!(unpack(Cursor::new(&bytes), into.path()).unwrap(), manifest);
    assert_eq!(verify(Cursor::new(&bytes)).unwrap(), manifest);
    for (path, content) in FILES {
        assert_eq!(fs::read(into.path().join(path)).unwrap(), content, "{path}");
    }
    let modes: Vec<_> = manifest.files.iter().map(|f| (f.path.as_str(), f.mode)).collect();
    let expected = [("bin/connector", 0o755), ("empty", 0o644), ("share/a.txt", 0o644), ("share/deep/b.bin", 0o644)];
    assert_eq!(modes, expected);
    #[cfg(unix)]
    for (path, mode) in expected.iter().chain(&[("bin", 0o755), ("share/deep", 0o755)]) {
        use std::os::unix::fs::PermissionsExt;
        let found = fs::metadata(into.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, *mode, "{path}");
    }
}

#[test]
fn the_same_input_makes_the_same_bytes_whatever_its_times_and_order() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tree(one.path(), &FILES);
    let mut reversed = FILES;
    reversed.reverse();
    tree(two.path(), &reversed);
    for (path, _) in FILES {
        let file = fs::File::options().append(true).open(two.path().join(path)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
    }
    let (bytes, _) = packed(one.path());
    assert_eq!(bytes, packed(two.path()).0);
    // And the manifest is canonical: sorted, without spaces.
    let manifest = read_manifest(&mut Cursor::new(&bytes)).unwrap();
    let end = 23 + u32::from_be_bytes(bytes[19..23].try_into().unwrap()) as usize;
    let text = std::str::from_utf8(&bytes[23..end]).unwrap();
    assert!(text.starts_with(r#"{"arch":"x86_64","files":[{"mode":493,"path":"bin/connector","sha256":""#), "{text}");
    assert_eq!(manifest.content_size(), 10 + 3 + 3);
}

#[cfg(unix)]
#[test]
fn links_and_special_files_are_not_packed() {
    let from = tempfile::tempdir().unwrap();
    tree(from.path(), &FILES);
    let link = from.path().join("share/link");
    for target in ["a.txt", "/etc/passwd", "nowhere"] {
        std::os::unix::fs::symlink(target, &link).unwrap();
        let error = pack(from.path(), &description(), &mut Vec::new(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::CannotPack { .. }), "{error:?}");
        fs::remove_file(&link).unwrap();
    }
    let _listening = std::os::unix::net::UnixListener::bind(&link).unwrap();
    assert!(matches!(pack(from.path(), &description(), &mut Vec::new(), &mut |_| {}), Err(Error::CannotPack { .. })));
}

#[test]
fn names_that_are_not_safe_everywhere_are_not_packed() {
    for name in ["nul.txt", "a:b", "trailing.", "umlaut-ä"] {
        let from = tempfile::tempdir().unwrap();
        tree(from.path(), &FILES);
        // Windows does not even let some of them be made.
        if fs::write(from.path().join(name), "x").is_ok() && from.path().join(name).exists() {
            let result = pack(from.path(), &description(), &mut Vec::new(), &mut |_| {});
            assert!(matches!(result, Err(Error::UnsafePath(_))), "{name}");
        }
    }
}

#[test]
fn the_program_must_be_there_and_executable() {
    let from = tempfile::tempdir().unwrap();
    tree(from.path(), &FILES);
    for program in ["bin/missing", "share/a.txt"] {
        let description = release::package::Description { program: program.into(), ..description() };
        let error = pack(from.path(), &description, &mut Vec::new(), &mut |_| {}).unwrap_err();
        if cfg!(unix) || program == "bin/missing" {
            assert!(matches!(error, Error::Refused(_)), "{error:?}");
        }
    }
}

#[test]
fn progress_ends_at_the_total() {
    let from = tempfile::tempdir().unwrap();
    tree(from.path(), &FILES);
    let mut last = None;
    pack(from.path(), &description(), &mut Vec::new(), &mut |p| last = Some(p)).unwrap();
    let last = last.unwrap();
    assert_eq!((last.done, last.total), (16, 16));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_tree_survives(files in prop::collection::btree_map("[a-d]{1,2}(/[a-d]{1,2}){0,2}", prop::collection::vec(any::<u8>(), 0..3000), 0..8)) {
        let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tree(from.path(), &[("bin/connector", b"run")]);
        let mut kept = Vec::new();
        for (path, content) in &files {
            let on_disk = from.path().join(path);
            // A path that is a directory of another one is left out.
            if fs::create_dir_all(on_disk.parent().unwrap()).is_ok() && fs::write(&on_disk, content).is_ok() {
                kept.push((path, content));
            }
        }
        let (bytes, manifest) = packed(from.path());
        prop_assert_eq!(&unpack(Cursor::new(&bytes), into.path()).unwrap(), &manifest);
        prop_assert_eq!(manifest.files.len(), kept.len() + 1);
        for (path, content) in kept {
            prop_assert_eq!(&fs::read(into.path().join(path)).unwrap(), content);
        }
    }

    #[test]
    fn no_change_to_a_package_goes_unnoticed_or_leaves_the_directory(at in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<bool>()) {
        let (from, outer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tree(from.path(), &FILES);
        let (good, manifest) = packed(from.path());
        let mut bytes = good.clone();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        let into = outer.path().join("into");
        fs::create_dir(&into).unwrap();
        match unpack(Cursor::new(&bytes), &into) {
            Err(_) => {}
            // A changed manifest may still be a manifest, say of version 7.3.1: TUF's hash of the whole tells. The content is not touched by that.
            Ok(other) => {
                prop_assert!(!cut);
                let contents = |m: &release::package::Manifest| m.files.iter().map(|f| f.sha256.clone()).collect::<Vec<_>>();
                prop_assert_eq!(contents(&other), contents(&manifest));
            }
        }
        prop_assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
    }

    #[test]
    fn arbitrary_bytes_are_never_a_package_and_never_a_crash(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(verify(Cursor::new(&bytes)).is_err());
        let behind_magic = [release::package::MAGIC, bytes.as_slice()].concat();
        prop_assert!(verify(Cursor::new(&behind_magic)).is_err());
    }
}
