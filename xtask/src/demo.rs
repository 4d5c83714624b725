//! `cargo xtask demo`: all set-up, and the main job from beginning to end.

use std::{process::Command, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    packages,
    programs::{
        Profile, Programs,
        windows::{TARGET, WindowsPrograms},
    },
    story::{Stage, narrator::Narrator, outcome::Outcome, play, windows},
    tests::rust_target,
};

/// What is to be seen.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    /// Leave the folder behind.
    pub keep: bool,
    /// Play on what has been built before.
    pub built: bool,
    /// With Windows PCs.
    pub windows: bool,
    /// With programs for Windows that are built as shipped.
    pub shipped: bool,
}

impl Wishes {
    fn profile_for_windows(self) -> Profile {
        if self.shipped { Profile::Release } else { Profile::Dev }
    }
}

/// Builds, and plays the story aloud; as root, which it asks for through sudo where it must.
///
/// # Errors
/// When anything differs from the story, or something that it needs is missing.
pub fn demo(wishes: Wishes) -> Result<()> {
    if wishes.built {
        return tell(&Programs::built(Profile::Dev)?, wishes);
    }
    println!("This needs root, because each PC's updater runs as root and each PC's user has a number of its own.");
    println!("It changes nothing outside its own folder, besides system packages.");
    let more = match wishes.windows {
        true => [packages::WINDOWS, packages::MSI, packages::WINE],
        false => [packages::WEBMAIL, packages::ELEVATION, &[]],
    };
    packages::ensure_installed(&[packages::DEMO, &more.concat()].concat())?;
    let start = Instant::now();
    let programs = Programs::build(Profile::Dev)?;
    if wishes.windows {
        rust_target(TARGET)?;
        let windows = WindowsPrograms::build(wishes.profile_for_windows())?;
        windows::shipped::prepare(&programs, &windows)?;
        wine_rig::base()?;
    }
    println!("Built in {:.0} s.", start.elapsed().as_secs_f64());
    if packages::is_root() { tell(&programs, wishes) } else { as_root(wishes) }
}

/// The same program again, as root, on what has been built.
fn as_root(wishes: Wishes) -> Result<()> {
    let mut sudo = Command::new("sudo");
    sudo.arg("-E").arg(std::env::current_exe()?).args(["demo", "--built"]);
    sudo.args(wishes.keep.then_some("--keep")).args(wishes.windows.then_some("--windows"));
    sudo.args(wishes.shipped.then_some("--shipped"));
    let status = sudo.status().context("starting sudo; as root, start the same command again")?;
    ensure!(status.success(), "the demo failed");
    Ok(())
}

fn tell(programs: &Programs, wishes: Wishes) -> Result<()> {
    let start = Instant::now();
    let stage = Stage::new()?;
    let outcome = match played(&stage, programs, wishes) {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("\nThe story went another way; everything is left for a look in {}", stage.keep().display());
            return Err(error);
        }
    };
    println!("\n{}\n{}", outcome.table(), outcome.mailboxes());
    println!("Played in {:.0} s.", start.elapsed().as_secs_f64());
    if wishes.keep {
        println!("Everything is left for a look in {}", stage.keep().display());
    }
    let lost: usize = outcome.rows.iter().map(|r| r.lost).sum();
    ensure!(lost == 0, "{lost} messages were lost");
    Ok(())
}

fn played(stage: &Stage, programs: &Programs, wishes: Wishes) -> Result<Outcome> {
    match wishes.windows {
        true => {
            windows::play::play(stage, programs, &WindowsPrograms::built(wishes.profile_for_windows()), Narrator::Aloud)
                .map(|(_, outcome)| outcome)
        }
        false => play::play(stage, programs, Narrator::Aloud).map(|(_, outcome)| outcome),
    }
}
