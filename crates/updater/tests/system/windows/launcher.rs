//! The launcher, which starts at sign-in: it has no console, ends the user's program by its event, starts the next version, and ends so
//! itself.

use std::fs;

use super::pc::{Computer, LONG, built, connector, updater};
use crate::{site::Site, vendor::Vendor};

/// Sets the event by which every process of a program is asked to end.
const ASK: &str = r#"#include <windows.h>
#include <tlhelp32.h>
#include <stdio.h>
int wmain(int n, wchar_t **a) {
    PROCESSENTRY32W e = { .dwSize = sizeof e }; HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    int asked = 0; wchar_t name[64];
    for (BOOL more = Process32FirstW(all, &e); more; more = Process32NextW(all, &e)) {
        if (lstrcmpiW(e.szExeFile, a[1])) continue;
        swprintf(name, 64, L"Local\\LockstepStop-%lu", e.th32ProcessID);
        HANDLE event = OpenEventW(EVENT_MODIFY_STATE, FALSE, name);
        if (event && SetEvent(event)) asked++; }
    printf("%d\n", asked); return 0; }
"#;

#[test]
fn the_launcher_ends_the_old_version_politely_starts_the_new_one_and_ends_when_it_is_asked() {
    let site = Site::start();
    let (u, old, new) = (updater("0.1.0"), connector("7.2.0"), connector("7.3.0"));
    let vendor = Vendor::new("vendor", &[u.clone(), old.clone(), new.clone()]);
    site.honest(&vendor, "7.2.0");
    let pc = Computer::on("launched");
    assert_eq!(pc.install(&site, &vendor, &[&u, &old]).code, 0);
    let _service = pc.start();
    pc.wait("it answers", || pc.status().is_some());

    fs::copy(built("lockstep-launcher.exe"), pc.pc.c().join("launcher.exe")).unwrap();
    let log = pc.pc.prefix().with_extension("launcher-log");
    let words = ["--root", &pc.root, "connector", "--", "run"];
    let mut launcher = pc.pc.spawn("the launcher", r"C:\launcher.exe", &words, &log).unwrap();
    let notes = || fs::read_to_string(pc.pc.c().join("notes.txt")).unwrap_or_default().replace('\r', "");
    pc.wait("the old version runs", || notes() == "started 7.2.0\n");

    site.honest(&vendor.next(&[u, old, new]), "7.3.0");
    assert_eq!(pc.check().code, 0);
    let both = "started 7.2.0\nended 7.2.0\nstarted 7.3.0\n";
    pc.wait("the new version runs, and the old one was asked to end", || notes() == both);

    let ask = pc.tool("ask", ASK);
    assert_eq!(pc.pc.must(&ask, &["launcher.exe"]).unwrap().trim(), "1");
    mail_rig::process::wait_until("the launcher ends", LONG, || Ok(launcher.exit_code())).unwrap();
    assert_eq!(notes(), format!("{both}ended 7.3.0\n"));
}

#[test]
fn a_program_without_a_console_of_its_own_prints_all_the_same() {
    let pc = Computer::on("misled");
    fs::copy(built("lockstep-launcher.exe"), pc.pc.c().join("launcher.exe")).unwrap();
    let ran = pc.pc.run(r"C:\launcher.exe", &["no/product"]).unwrap();
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no/product"), "{}", ran.stderr);
    let version = pc.pc.run(r"C:\launcher.exe", &["--version"]).unwrap();
    assert!(version.stdout.starts_with("lockstep-launcher "), "{version:?}");
}
