//! What Windows does with the programs before they themselves can say anything.

use std::process::Command;

use xtask::{
    dist::windows::console::{has_console, setup_program},
    process::must,
};

use crate::built;

/// Libraries that the programs name. All of them are Windows' own; another one would have to be shipped, or would be looked for in the
/// program's folder and could be planted there.
const WINDOWS_OWN: [&str; 16] = [
    "advapi32.dll",
    "api-ms-win-core-synch-l1-2-0.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "combase.dll",
    "credui.dll",
    "crypt32.dll",
    "gdi32.dll",
    "kernel32.dll",
    "msvcrt.dll",
    "ntdll.dll",
    "ole32.dll",
    "shell32.dll",
    "user32.dll",
    "userenv.dll",
    "ws2_32.dll",
];

#[test]
fn no_black_window_at_sign_in_or_in_session_0() {
    let console = |name: &str| has_console(&built().path(name)).unwrap();
    assert!(console("lockstep-updater.exe"), "scripts wait for it");
    for name in ["lockstep-launcher.exe", "lockstep-supervisor.exe", "lockstep-connector.exe"] {
        assert!(!console(name), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let (updater, setup) = (built().path("lockstep-updater.exe"), dir.path().join("lockstep-setup.exe"));
    setup_program(&updater, &setup).unwrap();
    assert!(!has_console(&setup).unwrap());
    let [own, setup] = [updater, setup].map(|program| std::fs::read(program).unwrap());
    assert_eq!(own.iter().zip(&setup).filter(|(a, b)| a != b).count(), 1, "the same program but for that");
}

#[test]
fn programs_need_no_library_but_windows_own() {
    for name in ["updater", "launcher", "supervisor", "connector"] {
        let program = built().path(&format!("lockstep-{name}.exe"));
        let said = must(Command::new("x86_64-w64-mingw32-objdump").arg("-p").arg(&program)).unwrap();
        let named = said.lines().filter_map(|line| line.trim().strip_prefix("DLL Name: ")).map(str::to_lowercase);
        let mut named: Vec<String> = named.collect();
        assert!(named.len() > 3, "{name}: {said}");
        named.retain(|library| !WINDOWS_OWN.contains(&library.as_str()));
        assert_eq!(named, Vec::<String>::new(), "{name}");
    }
}
