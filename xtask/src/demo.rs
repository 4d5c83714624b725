//! `cargo xtask demo`: all set-up, and the main job from beginning to end.

use std::{process::Command, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    packages,
    programs::{Profile, Programs},
    story::{Stage, narrator::Narrator, play::play},
};

/// Builds, and plays the story aloud; as root, which it asks for through sudo where it must.
///
/// # Errors
/// When anything differs from the story, or something that it needs is missing.
pub fn demo(keep: bool, built: bool) -> Result<()> {
    if built {
        return tell(&Programs::built(Profile::Dev)?, keep);
    }
    println!("This needs root, because each PC's updater runs as root and each PC's user has a number of its own.");
    println!("It changes nothing outside its own folder, besides system packages.");
    packages::ensure_installed(&[packages::DEMO, packages::WEBMAIL, packages::ELEVATION].concat())?;
    let start = Instant::now();
    let programs = Programs::build(Profile::Dev)?;
    println!("Built in {:.0} s.", start.elapsed().as_secs_f64());
    if packages::is_root() { tell(&programs, keep) } else { as_root(keep) }
}

/// The same program again, as root, on what has been built.
fn as_root(keep: bool) -> Result<()> {
    let mut sudo = Command::new("sudo");
    sudo.arg("-E").arg(std::env::current_exe()?).args(["demo", "--built"]).args(keep.then_some("--keep"));
    let status = sudo.status().context("starting sudo; as root, start the same command again")?;
    ensure!(status.success(), "the demo failed");
    Ok(())
}

fn tell(programs: &Programs, keep: bool) -> Result<()> {
    let start = Instant::now();
    let stage = Stage::new()?;
    let (world, outcome) = match play(&stage, programs, Narrator::Aloud) {
        Ok(played) => played,
        Err(error) => {
            eprintln!("\nThe story went another way; everything is left for a look in {}", stage.keep().display());
            return Err(error);
        }
    };
    drop(world);
    println!("\n{}\n{}", outcome.table(), outcome.mailboxes());
    println!("Played in {:.0} s.", start.elapsed().as_secs_f64());
    if keep {
        println!("Everything is left for a look in {}", stage.keep().display());
    }
    let lost: usize = outcome.rows.iter().map(|r| r.lost).sum();
    ensure!(lost == 0, "{lost} messages were lost");
    Ok(())
}
