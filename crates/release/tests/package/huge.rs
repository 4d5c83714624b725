//! Real files about the lengths at which a count of 31 or 32 bits turns over, and 10 GiB out of a third of a megabyte.
//!
//! Gigabytes are hashed here, some hundred megabytes a second: one length by default, all with `LOCKSTEP_SOAK=1`.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
};

use release::{
    package::{Error, MAX_CONTENT, verify},
    tuf::{Mismatch, Verifier},
};
use serde_json::{Value, json};

use crate::bench::{file, forge_frame, manifest, program};

/// So many zeros and their SHA-256, by GNU coreutils (`head -c N /dev/zero | sha256sum`).
const ZEROS: [(u64, &str); 4] = [
    ((1 << 31) - 1, "25ba9187e4e7b89d2a7f1a49f0155c233ea8fe0b19c881bc53d23fd7b93deda0"),
    ((1 << 31) + 1, "b8030a8ab89280935633d8d991da3d9907c0f12e8b6fc3bfc515f4d440872b6e"),
    ((1 << 32) - 1, "318eea1453f3a536e42d9637db593982c5c297220b2019bd4b7ad08e88d91e4b"),
    ((1 << 32) + 1, "fbb82f7b353676bb562eb82157fcf0ea42c36492ca13ee56dbf82c08b6802c5c"),
];

/// The same of as many as a package may hold.
const MOST: (u64, &str) = (MAX_CONTENT, "8479e43911dc45e89f934fe48d01297e16f51d17aa561d4d1c216b1ae0fcddca");

fn soaking() -> bool {
    std::env::var_os("LOCKSTEP_SOAK").is_some()
}

/// A real file of zeros, which take no room on the disk; with a last byte that is none, if wanted.
fn sparse(length: u64, altered: bool) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.set_len(length).unwrap();
    if altered {
        file.seek(io::SeekFrom::Start(length - 1)).unwrap();
        file.write_all(&[1]).unwrap();
        file.rewind().unwrap();
    }
    file
}

#[test]
fn a_file_about_a_count_of_31_or_32_bits_is_told_from_one_with_another_last_byte() {
    let lengths = if soaking() { &ZEROS[..] } else { &ZEROS[1..2] };
    for (length, sha256) in lengths {
        // Up to the last byte all is the same.
        let mut signed = Verifier::new(*length, sha256);
        let mut altered = sparse(*length, true);
        let mut buffer = vec![0; 1 << 20];
        while signed.seen() < length - 1 {
            let most = usize::try_from(length - 1 - signed.seen()).unwrap().min(buffer.len());
            altered.read_exact(&mut buffer[..most]).unwrap();
            signed.update(&buffer[..most]).unwrap();
        }
        let cut_short = signed.clone();
        assert_eq!(cut_short.finish(), Err(Mismatch::TooShort { expected: *length, got: length - 1 }));
        let rest = |verifier: &Verifier, last: &[u8]| verifier.clone().read_whole(last).unwrap();
        assert!(matches!(signed.clone().read_whole(&altered).unwrap(), Err(Mismatch::WrongHash { .. })), "{length}");
        assert_eq!(rest(&signed, &[0, 0]), Err(Mismatch::TooLong { expected: *length }));
        assert_eq!(rest(&signed, &[0]), Ok(()), "{length}");
        if soaking() {
            assert_eq!(Verifier::new(*length, sha256).read_whole(sparse(*length, false)).unwrap(), Ok(()));
            assert_eq!(
                Verifier::new(*length, sha256).read_whole(sparse(length + 1, false)).unwrap(),
                Err(Mismatch::TooLong { expected: *length })
            );
        }
    }
    println!("soak: {} lengths, last byte altered, missing and one too many: each found out", lengths.len());
}

/// A package whose program is so many zeros, but for the last byte perhaps.
fn package(size: u64, sha256: &str, last: u8) -> Vec<u8> {
    forge_frame(&manifest(vec![big_program(size, sha256)]), &rle(size - 1, &[last]))
}

fn big_program(size: u64, sha256: &str) -> Value {
    let mut program = program();
    program["size"] = size.into();
    program["sha256"] = json!(sha256);
    program
}

#[test]
fn a_package_with_a_file_of_gigabytes_is_refused_when_its_last_byte_is_another_or_it_is_too_large() {
    if soaking() {
        for (size, sha256) in &ZEROS[..3] {
            assert!(verify(package(*size, sha256, 0).as_slice()).is_ok(), "{size}");
            assert!(matches!(verify(package(*size, sha256, 1).as_slice()), Err(Error::WrongHash { .. })), "{size}");
        }
        println!("soak: 3 packages, last byte altered: each found out");
    }
    let (size, sha256) = ZEROS[3];
    assert!(size > MAX_CONTENT);
    assert!(matches!(verify(package(size, sha256, 0).as_slice()), Err(Error::Refused(_))));
}

#[test]
fn ten_gigabytes_out_of_a_third_of_a_megabyte_are_not_unpacked() {
    const BOMB: u64 = 10 << 30;
    let bomb = rle(BOMB, b"");
    assert!(bomb.len() < 400_000);
    // The frame is one: a decoder that asks for nothing gets zeros out of it, as many as it likes.
    let mut some = vec![7; 10 << 20];
    zstd::Decoder::new(bomb.as_slice()).unwrap().read_exact(&mut some).unwrap();
    assert!(some.iter().all(|byte| *byte == 0));

    let package = forge_frame(&manifest(vec![file("a.bin", &[0; 1000]), small_program()]), &bomb);
    let mut reader = Counting { inner: package.as_slice(), read: 0 };
    assert!(matches!(verify(&mut reader), Err(Error::TooLong)));
    assert!(reader.read < 200_000, "it read {} of {} bytes", reader.read, package.len());

    // Declared as it is.
    let package = forge_frame(&manifest(vec![big_program(BOMB, MOST.1)]), &bomb);
    assert!(matches!(verify(package.as_slice()), Err(Error::Refused(_))));

    // Declared as large as is allowed: everything up to there fits.
    if soaking() {
        let package = forge_frame(&manifest(vec![big_program(MOST.0, MOST.1)]), &bomb);
        assert!(matches!(verify(package.as_slice()), Err(Error::TooLong)));
        println!("soak: {BOMB} bytes in {}: given up at the declared {MAX_CONTENT}", package.len());
    }
}

fn small_program() -> Value {
    let mut run = program();
    run["sha256"] = file("x", &[0; 3])["sha256"].clone();
    run
}

struct Counting<R> {
    inner: R,
    read: usize,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n;
        Ok(n)
    }
}

/// A zstd frame (RFC 8878, section 3.1.1) of so many zeros and then `rest`: blocks that say "128 KiB of this byte" in four.
fn rle(mut zeros: u64, rest: &[u8]) -> Vec<u8> {
    const LARGEST: u64 = 128 << 10;
    let header = |last: bool, kind: u32, size: u32| (u32::from(last) | kind << 1 | size << 3).to_le_bytes();
    // No sizes, no checksum, a window of 1 MiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3];
    while zeros > 0 {
        let size = zeros.min(LARGEST);
        frame.extend(&header(false, 1, u32::try_from(size).unwrap())[..3]);
        frame.push(0);
        zeros -= size;
    }
    // Last, as it is.
    frame.extend(&header(true, 0, u32::try_from(rest.len()).unwrap())[..3]);
    frame.extend(rest);
    frame
}
