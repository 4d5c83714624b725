//! The whole system with Windows PCs: the site on Linux, and the real Windows programs under Wine.
//!
//! `cargo xtask test` builds what this runs.

use xtask::{
    programs::{Profile, Programs, windows::WindowsPrograms},
    story::{
        Stage,
        narrator::Narrator,
        outcome::CutOff,
        windows::{play::play, shipped},
    },
};

#[test]
fn a_site_with_windows_pcs_moves_to_the_new_version_and_only_who_was_foretold_is_cut_off() {
    let stage = Stage::new().unwrap();
    let programs = Programs::built(Profile::Dev).unwrap();
    // `cargo xtask test` has done it, unless the programs were built by hand.
    let windows = WindowsPrograms::built(Profile::Dev);
    shipped::prepare(&programs, &windows).unwrap();
    // Aloud: nextest shows it when the test fails.
    let (_world, outcome) = play(&stage, &programs, &windows, Narrator::Aloud).unwrap_or_else(|e| panic!("{e:?}"));
    println!("{}", outcome.table());

    for pc in ["WIN-READY", "WIN-REFUSES", "WIN-ACCEPTS", "WIN-AWAY"] {
        let row = outcome.row(pc).unwrap();
        assert_eq!((row.before.as_str(), row.after.as_str()), ("7.2.0 online", "7.3.0 online"), "{pc}");
        assert_eq!(row.lost, 0, "{pc}");
        assert!(row.received > 0, "{pc}");
        assert_eq!(matches!(row.cut_off, CutOff::Seconds(_)), pc != "WIN-AWAY", "{pc}: {:?}", row.cut_off);
    }
}
