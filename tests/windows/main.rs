//! The packages for Windows, and what they do on Windows PCs. `cargo xtask test` builds the programs first.

mod msi;
mod package;
mod programs;
mod shelf;
mod signature;

use std::{fs, path::Path};

use xtask::{
    dist::windows::Shipped,
    programs::{Profile, Programs, windows::WindowsPrograms},
};

/// The real programs.
fn built() -> WindowsPrograms {
    WindowsPrograms::built(Profile::Dev)
}

/// Packages whose programs are small files: for what does not depend on the programs.
fn small(dir: &Path, updater: &str, connector: &str) -> Shipped {
    let programs = dir.join(format!("programs-{updater}-{connector}"));
    fs::create_dir_all(&programs).unwrap();
    for name in ["setup", "updater", "supervisor", "launcher", "connector"] {
        fs::write(programs.join(format!("lockstep-{name}.exe")), format!("{name} {updater} {connector}")).unwrap();
    }
    let lockstep = Programs::built(Profile::Dev).unwrap().path("lockstep");
    Shipped { programs, lockstep, updater: updater.into(), connector: connector.into() }
}
