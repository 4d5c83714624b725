//! The programs that run with privilege, under a hostile environment and with hostile strings everywhere: watched by strace, they
//! open and start nothing but root's own files, by absolute paths, and every string stays one argument.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lockstep_updater::layout::Layout;

use crate::{
    install::{said, succeeded},
    site::{Service, Site, place},
    vendor::{Release, UPDATER, Vendor},
};

/// What a shell, a formatter or a careless command line would take apart.
const HOSTILE: [&str; 8] = [
    "self-check",
    "\"",
    "& touch /tmp/pwned &",
    "%PATH%%n",
    "two  words",
    "-rf",
    "$(touch /tmp/pwned)",
    "'; reboot; '",
];

/// A directory of another user with everything that is looked for by name.
fn planted(dir: &Path) -> PathBuf {
    let evil = dir.join("evil");
    fs::create_dir(&evil).unwrap();
    for name in ["sh", "systemctl", "lockstep-updater", "lockstep-launcher", "lockstep-connector", "id", "site.json"] {
        fs::write(evil.join(name), "#!/bin/sh\ntouch \"$(dirname \"$0\")/started\"\n").unwrap();
        fs::set_permissions(evil.join(name), fs::Permissions::from_mode(0o777)).unwrap();
        chown(evil.join(name), Some(60001), Some(60001)).unwrap();
    }
    fs::set_permissions(&evil, fs::Permissions::from_mode(0o777)).unwrap();
    chown(&evil, Some(60001), Some(60001)).unwrap();
    evil
}

/// A program under strace, in the planted directory and with everything in its environment pointing there.
fn watched(evil: &Path, trace: &Path, program: &[&OsStr]) -> Command {
    let mut command = Command::new("/usr/bin/strace");
    // Beside the program, which is our own child then.
    command.args(["-D", "-f", "-s", "4096", "-e", "trace=execve,execveat,open,openat", "-o"]).arg(trace).args(program);
    command.current_dir(evil).env("PATH", evil).env("TMPDIR", evil).env("HOME", evil);
    for name in ["XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "SSL_CERT_DIR", "OPENSSL_CONF", "LOGONSERVER"] {
        command.env(name, evil);
    }
    command.env("SSL_CERT_FILE", evil.join("site.json")).env("SHELL", evil.join("sh"));
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    command
}

/// The first strings in quotes of each call, with what it answered.
fn calls(trace: &Path) -> Vec<(String, bool, String)> {
    let text = fs::read_to_string(trace).unwrap();
    let call = |line: &str| {
        let name = ["execve(", "execveat(", "openat(", "open("].iter().find(|name| line.contains(**name))?;
        let path = line.split('"').nth(1)?.to_owned();
        let done = !line.contains(" = -1 ");
        Some((format!("{name} {path}"), done, line.to_owned()))
    };
    text.lines().filter_map(call).collect()
}

/// Nothing of another user was opened or started, but below `own`, and nothing by a relative path.
fn assert_roots_own(trace: &Path, evil: &Path, own: &Path) {
    let calls = calls(trace);
    assert!(calls.len() > 5, "{calls:?}");
    for (call, done, line) in &calls {
        let path = Path::new(call.split_once(' ').unwrap().1);
        // Relative to a descriptor is not relative to where it was started.
        let from_here = !path.is_absolute() && (!call.starts_with("openat") || line.contains("AT_FDCWD"));
        assert!(!from_here, "relative: {line}");
        assert!(!path.starts_with(evil), "planted: {line}");
        let system = ["/proc", "/dev", "/sys"].iter().any(|dir| path.starts_with(dir));
        if let (true, false, false, Ok(meta)) = (*done, system, path.starts_with(own), fs::metadata(path)) {
            assert_eq!((meta.uid(), meta.mode() & 0o002), (0, 0), "{line}");
        }
    }
    assert!(!evil.join("started").exists() && !Path::new("/tmp/pwned").exists());
}

/// Every program that was started: only these, and those after the first with an empty environment.
fn assert_started(trace: &Path, programs: &[&Path]) {
    for (number, (call, done, line)) in calls(trace).iter().filter(|(call, ..)| call.starts_with("exec")).enumerate() {
        let path = Path::new(call.split_once(' ').unwrap().1);
        assert!(programs.contains(&path), "{line}");
        assert!(*done || line.contains("unfinished"), "{line}");
        assert!(number == 0 || line.contains("/* 0 vars */"), "{line}");
    }
}

#[test]
fn with_everything_hostile_around_it_the_service_starts_and_opens_only_roots_files_and_no_shell() {
    let dir = place();
    let evil = planted(dir.path());
    let program = fs::read("/bin/true").unwrap();
    let connector = |version: &str| {
        let files: [(&str, u32, &[u8]); 1] = [("bin/lockstep-connector", 0o755, &program)];
        Release::checked("connector", version, &files, &HOSTILE)
    };
    let updater = Release::script("updater", "0.1.0", "true");
    let (old, new) = (connector("7.2.0"), connector("7.3.0"));
    let vendor = Vendor::new("vendor", &[updater.clone(), old.clone(), new.clone()]);
    let site = Site::start();
    site.honest(&vendor, "7.2.0");
    // The root's own path is as bad as the rest.
    let root = dir.path().join("pc $(reboot) & \"x\" %n");
    drop(site.pc(&root, &vendor, &[&updater, &old]));
    site.honest(&vendor, "7.3.0");
    let layout = Layout::new(&root).unwrap();
    fs::write(layout.hostname().unwrap(), "$(touch /tmp/pwned)\"&%n; reboot\nsecond\n").unwrap();

    let trace = dir.path().join("service.trace");
    let run = [UPDATER.as_ref(), OsStr::new("run"), OsStr::new("--root"), root.as_os_str()];
    let mut service = watched(&evil, &trace, &run).stderr(Stdio::null()).spawn().unwrap();
    let current = || fs::read_link(layout.root().join("opt/lockstep/connector/current")).unwrap();
    let settled = || fs::read_to_string(layout.journal()).is_ok_and(|j| j.contains("\"entries\":[]"));
    let began = Instant::now();
    while !(current().ends_with("7.3.0") && settled()) {
        assert!(began.elapsed() < Duration::from_secs(60), "no upgrade: {:?}", current());
        std::thread::sleep(Duration::from_millis(50));
    }
    service.kill().unwrap();
    service.wait().unwrap();
    // strace sees it too, and writes down what is left.
    while !fs::read_to_string(&trace).unwrap().contains("+++ killed by SIGKILL +++") {
        assert!(began.elapsed() < Duration::from_secs(60), "strace has not ended");
        std::thread::sleep(Duration::from_millis(20));
    }

    let checked = root.join("opt/lockstep/connector/versions/7.3.0/bin/lockstep-connector");
    let text = fs::read_to_string(&trace).unwrap().replace("\\\"", "'QUOTE'");
    let line = text.lines().find(|l| l.contains("execve(") && l.contains("7.3.0/bin/lockstep-connector")).unwrap();
    for argument in HOSTILE.iter().map(|a| a.replace('"', "'QUOTE'").replace('\n', "\\n")) {
        assert!(line.contains(&format!("\"{argument}\"")), "{argument} is not one argument of {line}");
    }
    // Quotes in the root's name are escaped in the trace, so paths are told by their ends.
    for line in text.lines().filter(|l| l.contains("execve(")) {
        let ours = line.contains("lockstep-updater\", [") || line.contains("7.3.0/bin/lockstep-connector\", [");
        assert!(ours && !line.contains("/sh\", ["), "{line}");
        assert!(line.contains("lockstep-updater\", [") || line.contains("/* 0 vars */"), "{line}");
    }
    assert!(checked.exists() && !evil.join("started").exists() && !Path::new("/tmp/pwned").exists());
    for line in text.lines().filter(|l| l.contains("open")) {
        assert!(!line.contains("AT_FDCWD, \"") || line.contains("AT_FDCWD, \"/"), "relative: {line}");
        assert!(!line.contains(evil.to_str().unwrap()), "planted: {line}");
    }
}

#[test]
fn with_everything_hostile_around_them_the_installer_and_the_commands_open_only_roots_files() {
    let dir = place();
    let evil = planted(dir.path());
    let updater = Release::script("updater", "0.1.0", "true");
    let connector = Release::script("connector", "7.3.0", "true");
    let vendor = Vendor::new("vendor", &[updater.clone(), connector.clone()]);
    let folder = dir.path().join("folder");
    vendor.folder(&folder, &[&updater, &connector], None);
    let root = dir.path().join("pc");
    let program = folder.join("bin/lockstep-updater");
    let trace = dir.path().join("install.trace");
    let run = [program.as_os_str(), OsStr::new("install"), OsStr::new("--root"), root.as_os_str()];
    let output = watched(&evil, &trace, &run).output().unwrap();
    assert!(succeeded(&output), "{}", said(&output));
    assert_roots_own(&trace, &evil, &folder);
    let version = root.join("opt/lockstep/connector/versions/7.3.0/bin/lockstep-connector");
    // The script's own interpreter is the kernel's doing.
    assert_started(&trace, &[&program, &version]);

    for command in ["status", "check", "consent"] {
        let trace = dir.path().join(format!("{command}.trace"));
        let run = [UPDATER.as_ref(), OsStr::new(command), OsStr::new("--root"), root.as_os_str()];
        let output = watched(&evil, &trace, &run).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "no service runs there");
        assert_roots_own(&trace, &evil, &folder);
        assert_started(&trace, &[UPDATER.as_ref()]);
    }
}

/// The trace is whole when the first process, whose number is this, has ended in it too: strace sees that a moment later.
fn until_traced(trace: &Path, pid: u32) {
    let began = Instant::now();
    let ended = |line: &str| line.split_whitespace().next() == Some(&pid.to_string()) && line.contains("+++ ");
    while !fs::read_to_string(trace).unwrap().lines().any(ended) {
        assert!(began.elapsed() < Duration::from_secs(60), "strace has not ended");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn with_everything_hostile_around_it_the_supervisor_starts_the_active_updater_and_nothing_else() {
    let dir = place();
    let evil = planted(dir.path());
    let installed = [Release::supervised_updater("0.1.0"), Release::script("connector", "7.2.0", "true")];
    let vendor = Vendor::new("vendor", &installed);
    let site = Site::start();
    site.honest(&vendor, "7.2.0");
    let root = dir.path().join("pc");
    site.installs(&root, &vendor, &[&installed[0], &installed[1]]);
    let supervisor = root.join("opt/lockstep/supervisor/lockstep-supervisor");
    let trace = dir.path().join("supervisor.trace");
    let run = [supervisor.as_os_str(), OsStr::new("--root"), root.as_os_str()];
    let mut service = Service::with(&root, &mut watched(&evil, &trace, &run));

    // Both of its ways: a start, and one on trial.
    let next = vendor.next(&[&installed[..], &[Release::supervised_updater("0.2.0")][..]].concat());
    site.honest(&next, "7.2.0");
    service.check();
    service.wait("0.2.0 has come up", || service.active("updater") == "0.2.0" && !service.layout.trial().exists());
    service.until("0.2.0 serves", |status| status["updater"] == "0.2.0");
    lockstep_updater::platform::terminate(service.process.id());
    assert!(service.process.wait().unwrap().success());
    until_traced(&trace, service.process.id());

    assert_roots_own(&trace, &evil, &root.with_extension("folder"));
    let (mut supervisors, mut updaters) = (0, 0);
    for (call, _, line) in calls(&trace).iter().filter(|(call, ..)| call.starts_with("exec")) {
        let program = Path::new(call.split_once(' ').unwrap().1);
        // Links are followed by the kernel: it is the active version that is started.
        let updater =
            program.starts_with(root.join("opt/lockstep/updater")) && program.ends_with("bin/lockstep-updater");
        supervisors += usize::from(program == supervisor);
        updaters += usize::from(updater);
        let checked = program.starts_with(root.join("opt/lockstep/")) && line.contains("/* 0 vars */");
        assert!(program == supervisor || updater || checked, "{line}");
    }
    assert_eq!(supervisors, 1);
    assert!(updaters >= 2, "{updaters}");
}

#[test]
fn with_everything_hostile_around_it_the_launcher_starts_the_active_version_with_each_argument_as_it_is() {
    let dir = place();
    let evil = planted(dir.path());
    let program = fs::read("/bin/true").unwrap();
    let updater = Release::real_updater("0.1.0");
    let connector = Release::of("connector", "7.3.0", &[("bin/lockstep-connector", 0o755, &program)]);
    let vendor = Vendor::new("vendor", &[updater.clone(), connector.clone()]);
    let folder = dir.path().join("folder");
    vendor.folder(&folder, &[&updater, &connector], None);
    let root = dir.path().join("pc");
    let output = crate::install::install(&folder, &root);
    assert!(succeeded(&output), "{}", said(&output));

    let launcher = root.join("opt/lockstep/updater/versions/0.1.0/bin/lockstep-launcher");
    let trace = dir.path().join("launcher.trace");
    // As the user that it is started by.
    let user = [OsStr::new("-u"), OsStr::new("nobody")];
    let own = [launcher.as_os_str(), OsStr::new("--root"), root.as_os_str(), OsStr::new("connector"), OsStr::new("--")];
    let run: Vec<_> = user.into_iter().chain(own).chain(HOSTILE.map(OsStr::new)).collect();
    let mut process = watched(&evil, &trace, &run).stderr(Stdio::null()).spawn().unwrap();
    assert!(process.wait().unwrap().success());
    until_traced(&trace, process.id());

    assert_roots_own(&trace, &evil, &folder);
    let started: Vec<_> = calls(&trace).into_iter().filter(|(call, ..)| call.starts_with("exec")).collect();
    let version = root.join("opt/lockstep/connector/versions/7.3.0/bin/lockstep-connector");
    let programs: Vec<_> = started.iter().map(|(call, ..)| Path::new(call.split_once(' ').unwrap().1)).collect();
    assert_eq!(programs, [launcher.as_path(), version.as_path()]);
    let arguments: Vec<_> = HOSTILE.iter().map(|argument| format!("\"{}\"", argument.replace('"', "\\\""))).collect();
    assert!(started[1].2.contains(&format!(", {}], ", arguments.join(", "))), "{}", started[1].2);
}

#[test]
fn a_site_with_the_wrong_certificate_or_that_sends_elsewhere_installs_nothing() {
    let dir = place();
    let updater = Release::script("updater", "0.1.0", "true");
    let connector = |version: &str| Release::script("connector", version, "true");
    let vendor = Vendor::new("vendor", &[updater.clone(), connector("7.2.0")]);
    let newer = vendor.next(&[updater.clone(), connector("7.2.0"), connector("7.3.0")]);
    let (site, other) = (Site::start(), Site::start());
    site.honest(&vendor, "7.2.0");
    let root = dir.path().join("pc");
    let service = site.pc(&root, &vendor, &[&vendor.releases[0], &vendor.releases[1]]);
    service.until("it is in touch", |s| s["last_contact"].is_string());

    // Everything is answered by a redirect, to plain HTTP and to a site with everything the PC could want.
    site.honest(&newer, "7.3.0");
    other.honest(&newer, "7.3.0");
    for elsewhere in [other.address.replace("https:", "http:"), other.address.clone()] {
        site.world.lock().unwrap().redirect = Some(elsewhere);
        service.check();
        service.until("it does not follow", |s| s["problem"].as_str().is_some_and(|p| p.contains("302")));
    }
    assert_eq!(other.world.lock().unwrap().reached, 0, "nobody asked the other site");
    assert_eq!((service.connector().as_str(), service.versions()), ("7.2.0", vec!["7.2.0".to_owned()]));
    drop(service);

    // The same address in the profile, another server behind it: its certificate is not the one that is pinned.
    let profile = fs::read_to_string(root.join("etc/lockstep/site.json")).unwrap();
    fs::write(root.join("etc/lockstep/site.json"), profile.replace(&site.address, &other.address)).unwrap();
    let service = Service::start(&root, Path::new(UPDATER));
    service
        .until("it does not speak to it", |s| s["problem"].as_str().is_some_and(|p| p.contains("cannot be reached")));
    assert_eq!(other.world.lock().unwrap().reached, 0, "no request was sent");
    assert_eq!((service.connector().as_str(), service.versions()), ("7.2.0", vec!["7.2.0".to_owned()]));
    drop(service);

    // Nor is a plain address accepted at all.
    fs::write(root.join("etc/lockstep/site.json"), profile.replace("https:", "http:")).unwrap();
    let output = Command::new(UPDATER).args(["run", "--root"]).arg(&root).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("not an https:// address"), "{}", said(&output));
}
