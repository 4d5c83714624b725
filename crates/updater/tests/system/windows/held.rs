//! What was verified cannot be exchanged while it is used; and what somebody else holds is waited for.

use std::fs;

use super::pc::{Computer, connector, updater};
use crate::{site::Site, vendor::Vendor};

/// Holds a file open without sharing it, for so many milliseconds, as a virus scanner does.
const HOLD: &str = r#"#include <windows.h>
#include <stdlib.h>
#include <stdio.h>
int wmain(int n, wchar_t **a) {
    HANDLE h = CreateFileW(a[1], GENERIC_READ, 0, 0, OPEN_EXISTING, 0, 0);
    if (h == INVALID_HANDLE_VALUE) { printf("%lu\n", GetLastError()); return 1; }
    puts("held"); fflush(stdout);
    Sleep(_wtoi(a[2])); return 0; }
"#;
/// Tries to write to, to rename and to delete each file below a folder, for so many milliseconds; prints each other number than 2 and 3
/// (there is none) that Windows gives, or 0 where it succeeded.
const ATTACK: &str = r#"#include <windows.h>
#include <stdlib.h>
#include <stdio.h>
static DWORD seen[64]; static int count;
static void say(const char *what, BOOL done) {
    DWORD e = done ? 0 : GetLastError();
    if (e == 2 || e == 3) return;
    printf("%s %lu\n", what, e); fflush(stdout); }
int wmain(int n, wchar_t **a) {
    DWORD end = GetTickCount() + _wtoi(a[2]); wchar_t p[1024], q[1024];
    while (GetTickCount() < end) {
        WIN32_FIND_DATAW f; swprintf(p, 1024, L"%ls\\*", a[1]);
        HANDLE s = FindFirstFileW(p, &f); if (s == INVALID_HANDLE_VALUE) continue;
        do { if (f.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) continue;
            swprintf(p, 1024, L"%ls\\%ls", a[1], f.cFileName); swprintf(q, 1024, L"%ls.taken", p);
            HANDLE h = CreateFileW(p, GENERIC_WRITE, 7, 0, OPEN_EXISTING, 0, 0);
            say("write", h != INVALID_HANDLE_VALUE); if (h != INVALID_HANDLE_VALUE) { DWORD w; WriteFile(h, "x", 1, &w, 0); CloseHandle(h); }
            say("rename", MoveFileW(p, q)); say("delete", DeleteFileW(p));
        } while (FindNextFileW(s, &f)); FindClose(s); }
    return 0; }
"#;

#[test]
fn a_virus_scanner_that_holds_the_pointer_is_waited_for() {
    let site = Site::start();
    let (u, old, new) = (updater("0.1.0"), connector("7.2.0"), connector("7.3.0"));
    let vendor = Vendor::new("vendor", &[u.clone(), old.clone(), new.clone()]);
    site.honest(&vendor, "7.2.0");
    let pc = Computer::on("scanned");
    assert_eq!(pc.install(&site, &vendor, &[&u, &old]).code, 0);
    let _service = pc.start();
    pc.wait("it answers", || pc.status().is_some());
    let hold = pc.tool("hold", HOLD);
    let pointer = format!(r"{}\opt\lockstep\connector\current", pc.root);
    let log = pc.pc.c().join("hold.log");
    let mut holding = pc.pc.spawn("a scanner", &hold, &[&pointer, "4000"], &log).unwrap();
    holding.wait_for("held", super::pc::LONG).unwrap();
    site.honest(&vendor.next(&[u, old, new]), "7.3.0");
    assert_eq!(pc.check().code, 0);
    pc.wait("the new version is active", || pc.active("connector").as_deref() == Some("7.3.0") && pc.is_quiet());
    assert!(pc.is_whole());
    let status = pc.status().unwrap();
    assert_eq!(status["products"]["connector"]["installed"], "7.3.0", "{status}");
}

#[test]
fn what_was_verified_cannot_be_written_to_renamed_or_deleted_while_it_is_installed() {
    let site = Site::start();
    let (u, old) = (updater("0.1.0"), connector("7.2.0"));
    let vendor = Vendor::new("vendor", &[u.clone(), old.clone()]);
    site.honest(&vendor, "7.2.0");
    let pc = Computer::on("attacked");
    let attack = pc.tool("attack", ATTACK);
    let copy = format!(r"{}\var\lib\lockstep\updater\install", pc.root);
    let log = pc.pc.c().join("attack.log");
    let _attacker = pc.pc.spawn("an attacker", &attack, &[&copy, "60000"], &log).unwrap();
    let ran = pc.install(&site, &vendor, &[&u, &old]);
    let tries = fs::read_to_string(&log).unwrap();
    // Whatever the attacker got hold of before it was open, was found out: nothing that is not whole is ever installed.
    let refused = |what: &str| tries.lines().any(|line| line.trim() == format!("{what} 32"));
    assert!(refused("write") && refused("rename") && refused("delete"), "{tries}\n{}", ran.stderr);
    if ran.code == 0 {
        assert!(pc.is_whole());
    } else {
        assert_eq!(pc.active("connector"), None, "{}", ran.stderr);
    }
}
