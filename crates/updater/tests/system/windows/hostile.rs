//! Attacks on the real programs for Windows: planted links, hostile packages, a hostile environment, hostile words.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::pc::{Computer, compiled, connector, updater};
use crate::{
    site::Site,
    vendor::{Release, Vendor},
};

/// Names that another user can know beforehand, below the root.
const PREDICTABLE: [&str; 8] = [
    r"etc\lockstep\site.json",
    r"etc\lockstep\.root.json.new",
    r"var\lib\lockstep\updater\state.json",
    r"var\lib\lockstep\updater\.journal.json.new",
    r"var\lib\lockstep\updater\.install-journal.json.new",
    r"var\lib\lockstep\updater\tuf\.new-timestamp.json",
    r"opt\lockstep\connector\current",
    r"opt\lockstep\updater\current.new",
];

/// Paths that a package must not have (Windows: "Naming Files, Paths, and Namespaces").
const HOSTILE_PATHS: [&str; 12] = [
    "../../../evil.txt",
    r"..\..\..\evil.txt",
    "C:/evil.txt",
    r"C:\evil.txt",
    "/evil.txt",
    r"\\server\share\evil.txt",
    "share/NUL.txt",
    "share/com1",
    "share/notes:stream",
    "share/dot.",
    "share/space ",
    "BIN/LOCKSTEP-CONNECTOR.EXE",
];

/// Leaves a mark where it is run as a program, or loaded as a library.
const MARK: &str = r#"#include <windows.h>
static void mark(void) { CloseHandle(CreateFileA("C:\\owned", GENERIC_WRITE, 7, 0, CREATE_ALWAYS, 0, 0)); }
BOOL WINAPI DllMain(HINSTANCE h, DWORD why, void *p) { if (why == DLL_PROCESS_ATTACH) mark(); return TRUE; }
int main(void) { mark(); return 0; }
"#;

/// Loads a library by its plain name, as careless programs do.
const CARELESS: &str = r#"#include <windows.h>
int wmain(int n, wchar_t **a) { return LoadLibraryW(a[1]) ? 0 : 1; }
"#;

/// Each as a self-check's argument.
const HOSTILE_WORDS: [&str; 9] =
    ["\"", "& calc.exe", "%PATH%", "-rf", "--", r"back\slash\", r#"a\"b"#, "two  words ' ;", "^ | > C:\\owned"];

/// A Windows PC takes its time: every third by default, which of them by `LOCKSTEP_SEED`; all with `LOCKSTEP_SOAK=1`.
fn is_in_sample(number: usize) -> bool {
    let seed = std::env::var("LOCKSTEP_SEED").map_or(1, |seed| seed.parse::<usize>().expect("a number"));
    std::env::var_os("LOCKSTEP_SOAK").is_some() || number % 3 == seed % 3
}

/// Every file outside what the installer is given, with its bytes where there are few.
fn elsewhere(pc: &Computer) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut open = vec![pc.pc.c()];
    // Windows' own logs and registry change by themselves.
    let ours = ["pc", "download", "windows", "users"];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let top = dir == pc.pc.c();
            if top && ours.contains(&entry.file_name().to_string_lossy().to_lowercase().as_str()) {
                continue;
            }
            if meta.is_dir() {
                open.push(entry.path());
            } else {
                found.insert(entry.path(), meta.len());
            }
        }
    }
    found
}

#[test]
fn what_links_at_predictable_names_lead_to_is_left_alone() {
    let site = Site::start();
    let (u, old) = (updater("0.1.0"), connector("7.2.0"));
    let vendor = Vendor::new("vendor", &[u.clone(), old.clone()]);
    site.honest(&vendor, "7.2.0");
    let mut pc = Computer::on("linked");
    let canary = pc.pc.c().join("canary");
    fs::write(&canary, "an administrator's own").unwrap();
    for (number, name) in PREDICTABLE.iter().enumerate().filter(|(number, _)| is_in_sample(*number)) {
        pc.root = format!(r"C:\pc{number}");
        let planted = pc.pc.c().join(format!("pc{number}")).join(name.replace('\\', "/"));
        fs::create_dir_all(planted.parent().unwrap()).unwrap();
        fs::hard_link(&canary, &planted).unwrap();
        let ran = pc.install(&site, &vendor, &[&u, &old]);
        assert!(ran.code <= 1, "{name}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(fs::read_to_string(&canary).unwrap(), "an administrator's own", "{name}: {}", ran.stderr);
        // Refused or not: nothing half done.
        assert_eq!(ran.code == 0, pc.active("connector").as_deref() == Some("7.2.0") && pc.is_whole(), "{name}");
    }
}

#[test]
fn a_package_with_a_path_that_leads_elsewhere_or_means_a_device_is_refused() {
    let site = Site::start();
    let u = updater("0.1.0");
    let program = compiled("int main(void) { return 0; }", &[]);
    let pc = Computer::on("unpacked");
    let before = elsewhere(&pc);
    for (number, path) in HOSTILE_PATHS.iter().enumerate().filter(|(number, _)| is_in_sample(*number)) {
        let hostile = Release::with_path_for_windows("7.3.0", &program, path);
        let vendor = Vendor::new("vendor", &[u.clone(), hostile.clone()]);
        site.honest(&vendor, "7.3.0");
        let ran = pc.install(&site, &vendor, &[&u, &hostile]);
        assert_eq!(ran.code, 1, "{number} {path:?}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(pc.active("connector"), None, "{path:?}");
        assert_eq!(elsewhere(&pc), before, "{path:?}");
    }
    let good = Release::with_path_for_windows("7.3.0", &program, "share/fine.txt");
    let vendor = Vendor::new("vendor", &[u.clone(), good.clone()]);
    site.honest(&vendor, "7.3.0");
    let ran = pc.install(&site, &vendor, &[&u, &good]);
    assert_eq!(ran.code, 0, "the path alone was wrong: {}{}", ran.stdout, ran.stderr);
}

/// Libraries that the programs load, at their start or later, and some that attackers plant.
fn libraries(program: &Path) -> Vec<String> {
    let listed = std::process::Command::new("x86_64-w64-mingw32-objdump").arg("-p").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("DLL Name: ")).map(str::to_owned);
    let usual =
        ["version.dll", "cryptsp.dll", "dbghelp.dll", "profapi.dll", "secur32.dll", "cryptbase.dll", "planted.dll"];
    named.chain(usual.map(str::to_owned)).collect()
}

#[test]
fn planted_programs_and_libraries_are_neither_run_nor_loaded() {
    let site = Site::start();
    let (u, old) = (updater("0.1.0"), connector("7.2.0"));
    let vendor = Vendor::new("vendor", &[u.clone(), old.clone()]);
    site.honest(&vendor, "7.2.0");
    let pc = Computer::on("trapped");
    let traps = pc.pc.c().join("traps");
    fs::create_dir(&traps).unwrap();
    let (library, program) = (compiled(MARK, &["-shared"]), compiled(MARK, &[]));
    for name in libraries(&super::pc::built("lockstep-updater.exe")) {
        fs::write(traps.join(name), &library).unwrap();
    }
    for name in
        ["cmd", "icacls", "sc", "schtasks", "reg", "powershell", "net", "lockstep-updater", "lockstep-supervisor"]
    {
        fs::write(traps.join(format!("{name}.exe")), &program).unwrap();
    }
    let owned = pc.pc.c().join("owned");
    let trapped = |line: &str| {
        let script = format!(
            "@echo off\r\ncd /d C:\\traps\r\nset PATH=C:\\traps;%PATH%\r\nset TEMP=C:\\traps\r\nset TMP=C:\\traps\r\n\
             set LOGONSERVER=\\\\evil\r\nset SystemRoot=C:\\traps\r\nset ComSpec=C:\\traps\\cmd.exe\r\n{line}\r\n"
        );
        fs::write(pc.pc.c().join("trapped.cmd"), script).unwrap();
        pc.pc.run_line(r"C:\windows\system32\cmd.exe /c C:\trapped.cmd").unwrap()
    };
    // The trap works.
    let careless = pc.tool("careless", CARELESS);
    trapped(&format!("{careless} planted.dll"));
    assert!(owned.exists(), "who loads by a plain name is caught");
    fs::remove_file(&owned).unwrap();

    assert_eq!(pc.install(&site, &vendor, &[&u, &old]).code, 0);
    let mut said = String::new();
    let active = pc.active_program();
    for line in [
        format!(r"C:\download\bin\lockstep-updater.exe install --json --root {}", pc.root),
        format!("{active} status --root {}", pc.root),
        format!("{active} diagnose --root {} --output C:\\pc\\diagnosis.tar.gz", pc.root),
        format!("{active} history --root {}", pc.root),
    ] {
        let ran = trapped(&line);
        said += &format!("{line}\n{}{}\n", ran.stdout, ran.stderr);
        assert!(!owned.exists(), "{said}");
    }
    assert!(said.contains("connector"), "they did their work: {said}");
}

#[test]
fn hostile_words_arrive_as_one_argument_each() {
    let units = |word: &str| word.encode_utf16().chain([0]).map(|u| u.to_string()).collect::<Vec<_>>().join(",");
    let program = |words: &[&str]| {
        let wanted: Vec<_> =
            words.iter().enumerate().map(|(n, w)| format!("static const wchar_t w{n}[] = {{{}}};", units(w))).collect();
        let names: Vec<_> = (0..words.len()).map(|n| format!("w{n}")).collect();
        let code = format!(
            "#include <windows.h>\n#include <wchar.h>\n{}\nstatic const wchar_t *w[] = {{{}}};\n\
             int wmain(int n, wchar_t **a) {{ if (n != {} + 1) return 2;\n\
             for (int i = 0; i < {}; i++) if (wcscmp(a[i + 1], w[i])) return 3; return 0; }}\n",
            wanted.join("\n"),
            names.join(","),
            words.len(),
            words.len()
        );
        compiled(&code, &["-municode"])
    };
    let site = Site::start();
    let u = updater("0.1.0");
    let pc = Computer::on("worded");
    let mut others = HOSTILE_WORDS;
    others[2] = r"C:\windows";
    for (expected, code) in [(others, 1), (HOSTILE_WORDS, 0)] {
        let program = program(&expected);
        let files = [("bin/lockstep-connector.exe", 0o755, &program[..])];
        let release = Release::for_windows("connector", "7.2.0", &files, &HOSTILE_WORDS);
        let vendor = Vendor::new("vendor", &[u.clone(), release.clone()]);
        site.honest(&vendor, "7.2.0");
        let ran = pc.install(&site, &vendor, &[&u, &release]);
        assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
        assert!(!pc.pc.c().join("owned").exists());
    }
}
