//! The packages for Windows, and what they do on Windows PCs. `cargo xtask test` builds the programs first.

// MSI-TABLE
mod package;
mod signature;

use std::{fs, path::Path};

use xtask::{
    dist::windows::Shipped,
    programs::{Profile, Programs, windows_programs},
};

/// The real programs, in packages of these versions.
fn shipped(updater: &str, connector: &str) -> Shipped {
    of(&windows_programs(), updater, connector)
}

/// Packages whose programs are small files: for what does not depend on the programs.
fn small(dir: &Path, updater: &str, connector: &str) -> Shipped {
    let programs = dir.join(format!("programs-{updater}-{connector}"));
    fs::create_dir_all(&programs).unwrap();
    for name in ["updater", "supervisor", "launcher", "connector"] {
        fs::write(programs.join(format!("lockstep-{name}.exe")), format!("{name} {updater} {connector}")).unwrap();
    }
    of(&programs, updater, connector)
}

fn of(programs: &Path, updater: &str, connector: &str) -> Shipped {
    let lockstep = Programs::built(Profile::Dev).unwrap().path("lockstep");
    Shipped { programs: programs.into(), lockstep, updater: updater.into(), connector: connector.into() }
}
