//! The root that a program carries, and trailers that are none.

use std::io::Cursor;

use release::carried_root::{CarriedRootError, MAGIC, MAX_ROOT, read, trailer};

use crate::vendor::State;

fn of(bytes: &[u8]) -> Result<Option<Vec<u8>>, CarriedRootError> {
    read(&mut Cursor::new(bytes))
}

fn claims(length: u64, before: &[u8]) -> Vec<u8> {
    [before, &length.to_be_bytes(), MAGIC].concat()
}

#[test]
fn a_program_gives_back_the_very_root_it_was_given() {
    let root = State::default().root_bytes();
    let program = [b"\x7fELF and so on".as_slice(), &trailer(&root).unwrap()].concat();
    assert_eq!(of(&program).unwrap(), Some(root));
}

#[test]
fn a_program_without_a_trailer_carries_none() {
    let root = State::default().root_bytes();
    let whole = [b"program".as_slice(), &trailer(&root).unwrap()].concat();
    for program in [&b""[..], b"short", b"LOCKSTEP-ROOT-1\n", &whole[..whole.len() - 1]] {
        assert_eq!(of(program).unwrap(), None);
    }
}

#[test]
fn a_damaged_trailer_is_an_error_and_never_none() {
    for (length, before) in
        [(1, &b""[..]), (u64::MAX, b"program"), (MAX_ROOT + 1, b"program"), (8, b"seven b"), (1 << 63, b"program")]
    {
        let said = of(&claims(length, before));
        assert!(matches!(said, Err(CarriedRootError::BadLength { length: l }) if l == length), "{length}: {said:?}");
    }
    let long = claims(MAX_ROOT + 1, &vec![b' '; usize::try_from(MAX_ROOT + 2).unwrap()]);
    assert!(matches!(of(&long), Err(CarriedRootError::BadLength { .. })));
    for not_a_root in [&b"{}"[..], b"", b"program"] {
        let said = of(&claims(not_a_root.len() as u64, not_a_root));
        assert!(matches!(said, Err(CarriedRootError::BadRoot(_))), "{said:?}");
    }
    let root = State::default().root_bytes();
    for at in (0..root.len()).step_by(7) {
        let mut program = [b"program".as_slice(), &trailer(&root).unwrap()].concat();
        program[b"program".len() + at] ^= 1;
        // A bit that no signature covers, such as a space, may be another root; it is never the vendor's.
        assert_ne!(of(&program).ok(), Some(Some(root.clone())), "byte {at}");
        assert_ne!(of(&program).ok(), Some(None), "byte {at}");
    }
}

#[test]
fn only_a_usable_root_can_be_carried() {
    assert!(matches!(trailer(b"{}"), Err(CarriedRootError::BadRoot(_))));
    let long = vec![b' '; usize::try_from(MAX_ROOT + 1).unwrap()];
    assert!(matches!(trailer(&long), Err(CarriedRootError::BadLength { .. })));
}
