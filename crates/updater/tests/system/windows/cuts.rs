//! Power cuts at seeded moments of an upgrade, on several PCs at once: one whole version each time, and every PC converges.

use std::time::Duration;

use super::pc::{Computer, connector, updater};
use crate::{site::Site, vendor::Vendor};

/// How often the power fails on each PC.
const CUTS: u64 = 2;

/// A number below `end`, from a seed (splitmix64).
fn number(seed: u64, end: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) % end
}

#[test]
fn power_cuts_on_several_pcs_leave_whole_versions_and_all_arrive() {
    let site = Site::start();
    let (u, old, new) = (updater("0.1.0"), connector("7.2.0"), connector("7.3.0"));
    let vendor = Vendor::new("vendor", &[u.clone(), old.clone(), new.clone()]);
    site.honest(&vendor, "7.2.0");
    let pcs: Vec<Computer> = (1..=3).map(|n| Computer::on(&format!("cut{n}"))).collect();
    for pc in &pcs {
        let ran = pc.install(&site, &vendor, &[&u, &old]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    site.honest(&vendor.next(&[u, old, new]), "7.3.0");
    std::thread::scope(|scope| {
        for (n, pc) in (0_u64..).zip(pcs) {
            scope.spawn(move || until_it_arrives(pc, n));
        }
    });
}

fn until_it_arrives(mut pc: Computer, seed: u64) {
    for cut in 0..CUTS {
        let running = pc.start();
        // An undisturbed upgrade takes about two seconds here from its start on.
        std::thread::sleep(Duration::from_millis(200 + number(seed * CUTS + cut, 2500)));
        pc.pc.power_cut().unwrap();
        drop(running);
        let active = pc.active("connector").expect("a version is active");
        assert!(["7.2.0", "7.3.0"].contains(&active.as_str()), "{active}");
        assert!(pc.is_whole(), "cut {cut} of PC {seed}: {active} is not whole");
        pc.pc.power_on().unwrap();
    }
    let _running = pc.start();
    pc.wait("it has arrived", || pc.active("connector").as_deref() == Some("7.3.0") && pc.is_quiet());
    assert!(pc.is_whole());
    assert!(pc.versions("connector").iter().all(|name| !name.starts_with('.')), "{:?}", pc.versions("connector"));
}
