//! The corpus of hostile packages: nothing outside the directory, nothing with rights, nothing beyond what was declared.

use std::{
    fs,
    io::{Cursor, Read},
    path::Path,
};

use release::package::{Error, MAGIC, MAX_CONTENT, MAX_FILES, MAX_MANIFEST, unpack};
use serde_json::{Value, json};

use crate::bench::{file, forge, forge_frame, manifest, program, tree};

/// Unpacks into a fresh directory beside a canary, and makes sure that the canary is all there is beside it.
fn attack(package: &[u8]) -> Result<(), Error> {
    let outer = tempfile::tempdir().unwrap();
    let into = outer.path().join("into");
    fs::create_dir(&into).unwrap();
    fs::write(outer.path().join("canary"), "alive").unwrap();
    let result = unpack(Cursor::new(package), &into).map(drop);
    let mut beside: Vec<_> = fs::read_dir(outer.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["canary", "into"]);
    assert_eq!(fs::read(outer.path().join("canary")).unwrap(), b"alive");
    assert_harmless(&into);
    result
}

fn assert_harmless(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        assert!(meta.is_dir() || meta.is_file(), "{path:?}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert!(matches!(meta.permissions().mode() & 0o7777, 0o644 | 0o755), "{path:?}");
        }
        if meta.is_dir() {
            assert_harmless(&path);
        }
    }
}

/// The files in order, since the manifest must be sorted.
fn with(mut files: Vec<Value>) -> Value {
    files.push(program());
    files.sort_by_key(|f| f["path"].as_str().unwrap().to_owned());
    manifest(files)
}

#[test]
fn the_forger_can_make_a_good_package() {
    attack(&forge(&with(vec![file("z.txt", b"zz")]), b"runzz")).unwrap();
}

#[test]
fn paths_that_mean_another_place_write_nothing() {
    for path in [
        "../canary",
        "..",
        "a/../../canary",
        "/etc/lockstep-was-here",
        "//server/share/x",
        "\\\\server\\share\\x",
        "..\\canary",
        "C:\\x",
        "C:x",
        "NUL.txt",
        "com1",
        "aux.",
        "a:b",
        "a.txt::$DATA",
        "trailing.",
        "trailing ",
        "./a",
        "a//b",
        "a/",
        "",
        "new\nline",
        "esc\u{1b}[2J",
        "rtl\u{202e}txt",
        "CONOUT$",
        "dir./x",
    ] {
        let package = forge(&with(vec![file(path, b"x")]), b"xrun");
        assert!(matches!(attack(&package), Err(Error::UnsafePath(_))), "{path:?}");
    }
}

#[test]
fn two_names_of_one_file_are_refused() {
    for (first, second) in [("Readme", "readme"), ("a", "a/b"), ("DIR/x", "dir/y"), ("a", "a")] {
        let package = forge(&with(vec![file(first, b"x"), file(second, b"x")]), b"xxrun");
        assert!(matches!(attack(&package), Err(Error::UnsafePath(_))), "{first} and {second}");
    }
}

#[test]
fn modes_with_rights_are_refused() {
    for mode in [0o4755, 0o2755, 0o1755, 0o777, 0o666, 0o600, 0, 0o100_644, 0o120_777] {
        let mut hostile = file("a", b"x");
        hostile["mode"] = mode.into();
        let package = forge(&with(vec![hostile]), b"xrun");
        assert!(matches!(attack(&package), Err(Error::Refused(_))), "{mode:o}");
    }
}

#[test]
fn content_must_be_exactly_what_is_declared() {
    let declared = with(vec![file("z.txt", b"zz")]);
    assert!(matches!(attack(&forge(&declared, b"run")), Err(Error::CutShort)));
    assert!(matches!(attack(&forge(&declared, b"runz")), Err(Error::CutShort)));
    assert!(matches!(attack(&forge(&declared, b"runzzz")), Err(Error::TooLong)));
    assert!(matches!(attack(&forge(&declared, b"runzy")), Err(Error::WrongHash { .. })));
    let good = forge(&declared, b"runzz");
    for end in 0..good.len() {
        assert!(attack(&good[..end]).is_err(), "cut after {end} bytes");
    }
    assert!(matches!(attack(&[&good[..], b"\0"].concat()), Err(Error::TooLong)));
    // Another frame, or one that a decoder would skip.
    let more = zstd::encode_all(&b"more"[..], 3).unwrap();
    assert!(matches!(attack(&[&good[..], &more].concat()), Err(Error::TooLong)));
    let skipped = [&0x184D_2A50_u32.to_le_bytes()[..], &4u32.to_le_bytes(), b"hide"].concat();
    assert!(matches!(attack(&[&good[..], &skipped].concat()), Err(Error::TooLong)));
    assert!(
        attack(&forge_frame(&declared, &[&skipped[..], &zstd::encode_all(&b"runzz"[..], 3).unwrap()].concat()))
            .is_err()
    );
}

#[test]
fn a_bomb_stops_at_the_declared_size() {
    let zeros = zstd::encode_all(std::io::repeat(0).take(200 << 20), 3).unwrap();
    assert!(zeros.len() < 100_000);
    let declared = with(vec![file("z.bin", &[0; 1000])]);
    let package = forge_frame(&declared, &zeros);
    assert!(attack(&package).is_err());
    let mut first = file("a.bin", &[0; 1000]);
    first["path"] = "a.bin".into();
    let mut run = program();
    run["sha256"] = file("x", &[0; 3])["sha256"].clone();
    let fitting = manifest(vec![first, run]);
    assert!(matches!(attack(&forge_frame(&fitting, &zeros)), Err(Error::TooLong)));
}

#[test]
fn sizes_cannot_overflow_or_exceed_the_cap() {
    for size in [MAX_CONTENT, MAX_CONTENT + 1, u64::from(u32::MAX) + 1, u64::MAX, u64::MAX - 2] {
        let mut huge = file("a", b"");
        huge["size"] = size.into();
        let result = attack(&forge(&with(vec![huge]), b"run"));
        assert!(matches!(result, Err(Error::Refused(_) | Error::CutShort)), "{size}: {result:?}");
    }
    let mut negative = file("a", b"");
    negative["size"] = (-1).into();
    assert!(matches!(attack(&forge(&with(vec![negative]), b"run")), Err(Error::BadManifest(_))));
}

#[test]
fn a_window_that_would_eat_the_memory_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.include_contentsize(false).unwrap();
    std::io::copy(&mut &vec![7u8; 1 << 20][..], &mut encoder).unwrap();
    let frame = encoder.finish().unwrap();
    let declared = with(vec![file("a", &vec![7; (1 << 20) - 3])]);
    assert!(matches!(attack(&forge_frame(&declared, &frame)), Err(Error::BadContent(_))));
}

#[test]
fn too_many_files_and_too_long_a_manifest_are_refused_unread() {
    let many = (0..=MAX_FILES).map(|n| file(&format!("f{n:06}"), b"")).collect();
    assert!(attack(&forge(&with(many), b"run")).is_err());
    let mut endless = [MAGIC, &(MAX_MANIFEST + 1).to_be_bytes()].concat();
    endless.extend_from_slice(&[b' '; 100]);
    assert!(matches!(attack(&endless), Err(Error::ManifestTooLong { .. })));
    assert!(matches!(attack(&[MAGIC, &u32::MAX.to_be_bytes()].concat()), Err(Error::ManifestTooLong { .. })));
}

#[test]
fn a_manifest_that_makes_no_sense_is_refused() {
    let edits: [fn(&mut Value); 12] = [
        |m| m["v"] = 2.into(),
        |m| m["product"] = "../x".into(),
        |m| m["version"] = "seven".into(),
        |m| m["os"] = "linux/../..".into(),
        |m| m["program"] = "bin/other".into(),
        |m| m["program"] = "../../bin/sh".into(),
        |m| m["self_check"] = json!(["a\nb"]),
        |m| m["self_check"] = json!(vec!["x"; 17]),
        |m| m["files"][0]["mode"] = 0o644.into(),
        |m| m["files"][0]["sha256"] = "ABC".into(),
        |m| m["files"].as_array_mut().unwrap().reverse(),
        |m| m["files"] = json!([]),
    ];
    for (n, edit) in edits.iter().enumerate() {
        let mut hostile = with(vec![file("z.txt", b"zz")]);
        edit(&mut hostile);
        assert!(attack(&forge(&hostile, b"runzz")).is_err(), "edit {n}");
    }
    assert!(matches!(attack(b"PK\x03\x04"), Err(Error::NotAPackage)));
    assert!(matches!(attack(b""), Err(Error::NotAPackage)));
}

#[test]
fn only_a_new_and_empty_directory_is_unpacked_into() {
    let package = forge(&with(vec![]), b"run");
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path(), &[("left/over", b"x")]);
    assert!(matches!(unpack(Cursor::new(&package), dir.path()), Err(Error::NotFresh(_))));
    #[cfg(unix)]
    {
        let real = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(real.path(), &link).unwrap();
        assert!(matches!(unpack(Cursor::new(&package), &link), Err(Error::NotFresh(_))));
        assert_eq!(fs::read_dir(real.path()).unwrap().count(), 0);
    }
}
