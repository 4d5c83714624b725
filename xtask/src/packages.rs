//! The system packages that a step needs: installed on Debian and Ubuntu, named elsewhere.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
pub use mail_rig::process::is_root;

/// A program that a step needs, and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    program: &'static str,
    debian: &'static str,
    why: &'static str,
}

const fn package(program: &'static str, debian: &'static str, why: &'static str) -> Package {
    Package { program, debian, why }
}

/// What the demo needs besides [`WEBMAIL`] and [`ELEVATION`].
pub const DEMO: &[Package] = &[
    package("/usr/sbin/dovecot", "dovecot-imapd", "the mail server of the story"),
    package("/usr/lib/dovecot/lmtp", "dovecot-lmtpd", "delivery into its mailboxes"),
    package("/usr/lib/dovecot/submission", "dovecot-submissiond", "sending through it"),
    package("/usr/sbin/exim4", "exim4-daemon-light", "the mail transport behind it"),
    package("curl", "curl", "a mail program that scripts can drive"),
    package("openssl", "openssl", "the mail server's certificate"),
    package("python3", "python3", "the vendor's web server"),
    package("strace", "strace", "cutting the updater's power at a chosen system call"),
    package("setpriv", "util-linux", "running each PC's programs as its own user"),
    package("strip", "binutils", "smaller programs in the packages"),
];

/// What the steps with the site's WebMail need.
pub const WEBMAIL: &[Package] = &[
    package("/usr/share/roundcube/index.php", "roundcube-core", "the site's WebMail"),
    package("/usr/share/doc/roundcube-sqlite3", "roundcube-sqlite3", "its database, a file"),
    package("/usr/share/doc/dbconfig-no-thanks", "dbconfig-no-thanks", "no database for it outside the stage"),
    package("/usr/share/doc/php-cgi", "php-cgi", "PHP without a web server"),
    package("php", "php-cli", "serving it"),
    package("chromium", "chromium", "a browser"),
    package("chromedriver", "chromium-driver", "driving it"),
];

/// What the steps with an administrator's password need.
pub const ELEVATION: &[Package] = &[
    package("sudo", "sudo", "asking for the administrator's password, one way"),
    package("pkexec", "pkexec", "asking for the administrator's password, the other way"),
    package("/usr/lib/polkit-1/polkitd", "polkitd", "who decides for pkexec"),
    package("dbus-daemon", "dbus-daemon", "a system bus of its own for it"),
    package("/usr/lib/python3/dist-packages/dbus", "python3-dbus", "the scripted person who is asked"),
    package("/usr/lib/python3/dist-packages/gi", "python3-gi", "the same"),
    package("unshare", "util-linux", "accounts that exist in the stage only"),
];

/// What the packages for Debian need.
pub const DIST: &[Package] = &[
    package("dpkg-deb", "dpkg", "making packages"),
    package("objdump", "binutils", "finding out which C library they need"),
    package("gzip", "gzip", "compressing their documentation"),
];

/// What the tests of the service under systemd need.
pub const SYSTEMD: &[Package] = &[
    package("debootstrap", "debootstrap", "a small Debian for the tests' PCs"),
    package("systemd-nspawn", "systemd-container", "PCs that boot, reboot and lose power, with a real systemd"),
    package("systemd-analyze", "systemd", "how much of the system the services can reach"),
    package("socat", "socat", "cables between those PCs and the site"),
    package("ip", "iproute2", "a network for each of them"),
    package("lintian", "lintian", "Debian's opinion of the packages"),
];

/// What the tests need besides [`DEMO`], [`WEBMAIL`] and [`ELEVATION`].
pub const TEST: &[Package] = &[
    package("mbsync", "isync", "a mail program that synchronises"),
    package("neomutt", "neomutt", "a mail program that people use"),
    package("tmux", "tmux", "a terminal for it, whose keys and screen tests can drive"),
    package("neomutt", "neomutt", "a mail program for people"),
    package("tmux", "tmux", "typing into it"),
    package("/usr/share/doc/python3-venv", "python3-venv", "python-tuf in an environment of its own"),
    package("softhsm2-util", "softhsm2", "a token for the vendor's keys"),
    package("faketime", "faketime", "a TUF client's clock set forward"),
    package("gnome-keyring-daemon", "gnome-keyring", "a system keyring"),
    package("dbus-run-session", "dbus", "a session bus for it"),
];

/// What the packages for Windows need besides [`WINDOWS`].
pub const MSI: &[Package] = &[
    package("wixl", "wixl", "making MSI packages"),
    package("msibuild", "msitools", "looking into MSI packages, and adding to them what wixl cannot say"),
    package("osslsigncode", "osslsigncode", "signing programs and packages as Windows wants it (Authenticode)"),
    package("/usr/share/doc/libengine-pkcs11-openssl", "libengine-pkcs11-openssl", "signing with a key in a token"),
];

/// What the tests of the Windows programs need besides [`WINDOWS`] and [`MSI`].
pub const WINE: &[Package] = &[
    package("wine", "wine", "running Windows programs: its commands"),
    package("/usr/lib/wine/wine64", "wine64", "running Windows programs: itself, for 64 bits"),
    package("openssl", "openssl", "certificates to sign with, for the tests"),
    package("Xvfb", "xvfb", "a screen that nobody sees"),
    package("import", "imagemagick", "pictures of it"),
    package("socat", "socat", "cables between the PCs and the site"),
    package("ip", "iproute2", "a network for each of them"),
];

/// What the fuzzers' runtime is compiled with.
pub const FUZZ: &[Package] = &[package("c++", "g++", "the fuzzer's runtime")];

/// Packages that others would bring along and that are never wanted: web servers, which would run from the next start
/// of the machine on.
const NEVER: &[&str] = &["libapache2-mod-php*-", "php*-fpm-"];

/// What the Windows build needs besides.
pub const WINDOWS: &[Package] = &[package("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64", "compiling for Windows")];

/// Sees to it that everything is there.
///
/// # Errors
/// When something is missing and cannot be installed: its name and what it is for.
pub fn ensure_installed(wanted: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = wanted.iter().filter(|p| !is_there(p)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("System packages that are needed and missing:");
    for p in &missing {
        eprintln!("  {:24} {}", p.debian, p.why);
    }
    let names: Vec<&str> = missing.iter().map(|p| p.debian).collect();
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("install the packages above with this system's own tool, then start again");
    }
    install(&names)?;
    let still: Vec<&str> = missing.iter().filter(|p| !is_there(p)).map(|p| p.program).collect();
    ensure!(still.is_empty(), "still missing after the installation: {}", still.join(", "));
    Ok(())
}

fn is_there(package: &Package) -> bool {
    let program = Path::new(package.program);
    if program.is_absolute() {
        return program.exists();
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .any(|dir| fs::metadata(dir.join(program)).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}

fn install(names: &[&str]) -> Result<()> {
    eprintln!("Installing them with apt-get (services are not started) …");
    let _no_services = ForbidServices::new();
    apt(&["update", "-qq"])?;
    // Some exclude each other, such as Exim and Postfix: what is there stays, and apt-get says so.
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends", "--no-remove"];
    arguments.extend(["-o", "DPkg::Lock::Timeout=300"]);
    arguments.extend(names);
    if names.iter().any(|name| name.starts_with("roundcube")) {
        arguments.extend(NEVER);
    }
    apt(&arguments)
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = if is_root() { Command::new("apt-get") } else { Command::new("sudo") };
    if !is_root() {
        command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    }
    let output = command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(arguments)
        .output()
        .context("starting apt-get (through sudo, if you are not root)")?;
    ensure!(
        output.status.success(),
        "apt-get {} failed:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Keeps packages from starting their services while it lives, where nobody has forbidden it already.
struct ForbidServices {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl ForbidServices {
    fn new() -> Self {
        let script = "#!/bin/sh\nexit 101\n";
        let ours = is_root()
            && !Path::new(POLICY).exists()
            && fs::write(POLICY, script).is_ok()
            && fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).is_ok();
        Self { ours }
    }
}

impl Drop for ForbidServices {
    fn drop(&mut self) {
        if self.ours {
            // Left behind it would only keep later packages from starting their services; say so.
            if let Err(error) = fs::remove_file(POLICY) {
                eprintln!("could not remove {POLICY}: {error}; please remove it");
            }
        }
    }
}
