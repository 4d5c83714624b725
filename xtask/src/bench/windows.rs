//! `cargo xtask bench windows`: how large the Windows programs and packages are, how soon the service answers, what it takes of the
//! memory while nothing happens. The programs are those that are shipped, installed from their MSI on a PC under Wine.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use mail_rig::process::{must, wait_until};
use wine_rig::Pc;

use crate::{
    dist::windows::{Kind, PROGRAMS, Shipped, build},
    programs::{spinner, target},
};

/// Bytes of the updater's program.
const AIM_SIZE: u64 = 5_000_000;
/// Milliseconds from the start to a pipe that takes a client.
const AIM_START: u64 = 1000;
/// KiB that belong to the idle updater alone: 10 MB.
const AIM_MEMORY: u64 = 10_000_000 / 1024;
/// Starts that are measured; the one in the middle counts.
const STARTS: usize = 5;
/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// What the service manager starts.
const SUPERVISOR: &str = r"C:\Program Files\Lockstep\supervisor\lockstep-supervisor.exe";
/// Starts the command line that is its second argument, and prints how many milliseconds it takes until the pipe that is its first takes a
/// client; ends the program then.
const STOPWATCH: &str = r#"#include <windows.h>
#include <stdio.h>
int wmain(int n, wchar_t **a) {
    if (n != 3) return 2;
    STARTUPINFOW how = { .cb = sizeof how }; PROCESS_INFORMATION made; LARGE_INTEGER hz, from, to;
    QueryPerformanceFrequency(&hz); QueryPerformanceCounter(&from);
    if (!CreateProcessW(0, a[2], 0, 0, FALSE, 0, 0, 0, &how, &made)) return 3;
    HANDLE pipe;
    do { pipe = CreateFileW(a[1], GENERIC_READ | GENERIC_WRITE, 0, 0, OPEN_EXISTING, 0, 0); QueryPerformanceCounter(&to);
        if (pipe == INVALID_HANDLE_VALUE) Sleep(1); }
    while (pipe == INVALID_HANDLE_VALUE && (to.QuadPart - from.QuadPart) / hz.QuadPart < 60);
    printf("%lld\n", (to.QuadPart - from.QuadPart) * 1000 / hz.QuadPart); fflush(stdout);
    TerminateProcess(made.hProcess, 0); WaitForSingleObject(made.hProcess, INFINITE);
    return pipe == INVALID_HANDLE_VALUE; }
"#;

/// Prints the figures, and where they fall short of what is aimed at.
///
/// # Errors
/// When something does not build, or cannot be installed.
pub fn bench(seconds: u64, built: bool) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let shipped = if built {
        let programs = target().join("programs").join(format!("dist-{version}-windows"));
        ensure!(programs.join(PROGRAMS[0]).exists(), "nothing has been built: leave --built away");
        let lockstep = target().join("release/lockstep");
        Shipped { programs, lockstep, updater: version.into(), connector: version.into() }
    } else {
        build(version, None)?
    };
    for name in PROGRAMS {
        let bytes = fs::metadata(shipped.programs.join(name))?.len();
        println!("{name:<24} {bytes:>10} bytes");
        if name == "lockstep-updater.exe" {
            falls_short("bytes", bytes, AIM_SIZE);
        }
    }
    let packages = tempfile::tempdir()?;
    let bar = spinner("making the packages");
    let msis = [Kind::Updater, Kind::Connector].map(|kind| shipped.msi(kind, packages.path()));
    bar.finish_and_clear();
    for msi in &msis {
        let msi = msi.as_ref().map_err(|e| anyhow::anyhow!("{e:#}"))?;
        let name = msi.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("{name:<36} {:>10} bytes", fs::metadata(msi)?.len());
    }
    let [Ok(updater), _] = msis else { anyhow::bail!("no package of the updater") };
    on_a_pc(&shipped.lockstep, &updater, version, seconds)
}

fn on_a_pc(lockstep: &Path, msi: &Path, version: &str, seconds: u64) -> Result<()> {
    wine_rig::base()?;
    let mut pc = Pc::new("bench-windows")?;
    pc.power_on()?;
    let root = pc.windows(&vendors_root(lockstep, &pc.c().join("vendor"))?);
    let began = Instant::now();
    // Nobody is there: the service goes on asking, as on a journey.
    let site = format!("SERVERURL=https://127.0.0.1:9 ENROLLMENTKEY=k ROOTJSON={root}");
    let code = pc.msiexec(&format!("/i {} /qn {site}", pc.windows(msi)))?;
    ensure!(code == 0, "the installation ended with {code}");
    println!("installed by msiexec in {:.1} s", began.elapsed().as_secs_f64());

    let program = format!(r"C:\Program Files\Lockstep\updater\versions\{version}\bin\lockstep-updater.exe");
    let answers = || Ok((pc.run(&program, &["status", "--json"])?.code == 0).then_some(()));
    wait_until("the service answers", LONG, answers)?;
    let bar = spinner(&format!("leaving the service alone for {seconds} s"));
    std::thread::sleep(Duration::from_secs(seconds));
    bar.finish_and_clear();
    for name in ["lockstep-updater.exe", "lockstep-supervisor.exe"] {
        let (resident, own) = memory(&pc, name)?;
        println!(
            "{name}: idle, resident {resident} KiB, of which its own {own} KiB (the rest are Wine's and its files)"
        );
        if name == "lockstep-updater.exe" {
            falls_short("KiB of its own", own, AIM_MEMORY);
        }
    }

    pc.must(&program, &["stop-wait"])?;
    let stopwatch = compile(&pc)?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let said = pc.must(&stopwatch, &[r"\\.\pipe\lockstep-updater", &format!("\"{SUPERVISOR}\"")])?;
        // What it has started ends with it, a moment later.
        std::thread::sleep(Duration::from_secs(2));
        starts.push(said.trim().parse::<u64>().with_context(|| said.clone())?);
    }
    starts.sort_unstable();
    let middle = starts[STARTS / 2];
    println!(
        "from the start of the supervisor to a pipe that takes a client: {middle} ms ({} to {} ms)",
        starts[0],
        starts[STARTS - 1]
    );
    falls_short("ms to start", middle, AIM_START);
    Ok(())
}

/// The root of a vendor who has published nothing yet, without which the service does not begin.
fn vendors_root(lockstep: &Path, dir: &Path) -> Result<PathBuf> {
    fs::create_dir(dir)?;
    let passphrase = dir.join("passphrase");
    fs::write(&passphrase, "correct horse battery staple\n")?;
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600))?;
    let keys = |command: &mut Command| -> Result<()> {
        command.arg("--offline").arg(dir.join("offline")).arg("--online").arg(dir.join("online"));
        must(command.arg("--passphrase-file").arg(&passphrase)).map(drop)
    };
    keys(Command::new(lockstep).args(["key", "init"]))?;
    keys(Command::new(lockstep).arg("publish").arg("--repo").arg(dir.join("repository")))?;
    Ok(dir.join("repository/metadata/1.root.json"))
}

fn falls_short(what: &str, number: u64, aim: u64) {
    if number > aim {
        println!("  falls short: {number} {what}, aimed at {aim}");
    }
}

fn compile(pc: &Pc) -> Result<String> {
    let (source, to) = (pc.c().join("stopwatch.c"), pc.c().join("stopwatch.exe"));
    fs::write(&source, STOPWATCH)?;
    let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
    must(compiler.args(["-Os", "-s", "-municode", "-o"]).arg(&to).arg(&source))?;
    Ok(r"C:\stopwatch.exe".into())
}

/// KiB resident, and of those the ones that no other process has (proc(5), `smaps_rollup`), of a program of this PC.
fn memory(pc: &Pc, name: &str) -> Result<(u64, u64)> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let process = entry.path();
        // Processes come and go, and those that are not processes have no such files.
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let prefix = format!("WINEPREFIX={}", pc.prefix().display());
        if !String::from_utf8_lossy(&line).contains(name) || !String::from_utf8_lossy(&environment).contains(&prefix) {
            continue;
        }
        let rollup = fs::read_to_string(process.join("smaps_rollup"))?;
        let sum = |names: &[&str]| -> u64 {
            let lines = rollup.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
            lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
        };
        return Ok((sum(&["Rss:"]), sum(&["Private_Clean:", "Private_Dirty:"])));
    }
    anyhow::bail!("{name} does not run")
}
