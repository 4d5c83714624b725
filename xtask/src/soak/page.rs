//! `docs/soak.md`: what the long runs last said.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::{
    Kind, RUNS,
    notes::{Notes, Outcome},
};
use crate::workspace;

/// The heading of what people have written.
const BY_HAND: &str = "\n## By hand\n";

pub(super) fn path() -> PathBuf {
    workspace().join("docs/soak.md")
}

pub(super) fn write(notes: &Notes) -> Result<()> {
    let path = path();
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("reading {}", path.display()))?,
    };
    let page = page(notes) + by_hand(&before);
    fs::write(&path, page).with_context(|| format!("writing {}", path.display()))
}

/// What stands below the table, written by people; it stays.
fn by_hand(page: &str) -> &str {
    page.find(BY_HAND).map_or("", |at| &page[at..])
}

fn page(notes: &Notes) -> String {
    let mut page = String::from(
        "# The long runs\n\n\
         Written by `cargo xtask soak`, which runs what `cargo xtask test` takes bounded, seeded samples of. It goes on where it was\n\
         broken off, a fuzz target in slices of a few minutes; `--list` says what there is, `--only NAME` does one. A row says\n\
         what its last run counted.\n\n\
         | run | proves | result | counted |\n|---|---|---|---|\n",
    );
    for run in RUNS {
        let (result, counts) = match notes.done.get(run.name) {
            None => ("not run yet".into(), wanted(&run.kind)),
            Some(done) => {
                let (mark, word) = (if done.outcome == Outcome::Failed { "**" } else { "" }, done.outcome.word());
                (
                    format!("{mark}{word}{mark}, {}, seed {}, {}", done.date, done.seed, time(done.seconds)),
                    done.counts.join("; "),
                )
            }
        };
        page.push_str(&format!("| `{}` | {} | {result} | {} |\n", run.name, run.proves, counts.replace('|', "\\|")));
    }
    page
}

fn wanted(kind: &Kind) -> String {
    match kind {
        Kind::Fuzz { executions, .. } => format!("{executions} executions wanted"),
        Kind::Test { .. } => String::new(),
    }
}

pub(super) fn time(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_have_written_stays() {
        let written = "\n## By hand\n\nfigures\n";
        let page = page(&Notes::default()) + written;
        assert_eq!(by_hand(&page), written);
        assert_eq!(by_hand("# The long runs\n"), "");
    }

    #[test]
    fn what_has_not_been_run_is_said_to_be_so() {
        let page = page(&Notes::default());
        assert_eq!(page.matches("not run yet").count(), RUNS.len());
    }
}
