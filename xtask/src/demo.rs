//! `cargo xtask demo`: all set-up, and the main job from beginning to end.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::{
    packages,
    programs::{Profile, Programs},
    story::{Stage, narrator::Narrator, play::play},
};

/// Plays the story aloud.
///
/// # Errors
/// When anything differs from the story, or something that it needs is missing.
pub fn demo(keep: bool) -> Result<()> {
    println!("Lockstep's main job, with real parts. It needs root, because each PC's updater runs as root and each");
    println!("PC's user has a number of its own. It changes nothing outside its own folder, besides system packages.");
    packages::ensure_installed(packages::DEMO)?;
    let start = Instant::now();
    let programs = if std::env::var_os("DEMO_BUILT").is_some() {
        Programs::built(Profile::Dev)?
    } else {
        Programs::build(Profile::Dev)?
    };
    println!("Built in {:.0} s.", start.elapsed().as_secs_f64());

    let start = Instant::now();
    let stage = Stage::new()?;
    let played = play(&stage, &programs, Narrator::Aloud);
    let (world, outcome) = match played {
        Ok(played) => played,
        Err(error) => {
            eprintln!("\nThe story went another way; everything is left for a look in {}", stage.keep().display());
            return Err(error);
        }
    };
    drop(world);
    println!("\n{}", outcome.table());
    println!("Played in {:.0} s.", start.elapsed().as_secs_f64());
    if keep {
        println!("Everything is left for a look in {}", stage.keep().display());
    }
    let lost: usize = outcome.rows.iter().map(|r| r.lost).sum();
    ensure!(lost == 0, "{lost} messages were lost");
    Ok(())
}
