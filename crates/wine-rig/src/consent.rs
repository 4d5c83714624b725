//! User Account Control, and the person who sits there: Wine's user administrates the PC and is never asked, so a part of the rig
//! stands between the program and its calls of Windows. What it is asked is kept word for word.

use std::{fs, path::Path};

use anyhow::{Result, bail};
use mail_rig::process::Background;

use crate::{Pc, base::USER};

const ASKED: &str = r"C:\windows\temp\lockstep-rig-asked.txt";
const ANSWER: &str = r"C:\windows\temp\lockstep-rig-answer.txt";

/// What the person does about Windows' prompt for the administrator's permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Permits it: Windows goes on to start the program.
    Yes,
    /// Answers with no: Windows tells the program so (error 1223, `ERROR_CANCELLED`).
    No,
}

/// What the person was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A box of the program's own (`MessageBoxW`), which is answered with OK.
    Question {
        /// The box's title.
        title: String,
        /// What it says.
        text: String,
        /// Its buttons, icon and place.
        kind: u32,
    },
    /// Windows' prompt (`ShellExecuteExW`).
    Prompt {
        /// The verb, `runas`.
        verb: String,
        /// The program.
        file: String,
        /// Its arguments, in one piece.
        parameters: String,
        /// Its working directory.
        directory: String,
        /// The call's flags.
        mask: u32,
        /// How its window is shown.
        show: i32,
    },
}

impl Pc {
    /// As [`Pc::spawn`], for a user who has no administrator's rights: who wants some is asked, and answers with no unless
    /// [`Pc::answer_prompts`] says otherwise.
    ///
    /// # Errors
    /// As [`Pc::spawn`].
    pub fn spawn_as_user(&self, name: &str, exe: &str, arguments: &[&str], log: &Path) -> Result<Background> {
        let words: Vec<&str> = std::iter::once(exe).chain(arguments.iter().copied()).collect();
        self.spawn(name, USER, &words, log)
    }

    /// From now on the person answers like this.
    ///
    /// # Errors
    /// From the disk.
    pub fn answer_prompts(&self, answer: Answer) -> Result<()> {
        Ok(fs::write(self.path(ANSWER), if answer == Answer::Yes { "yes" } else { "no" })?)
    }

    /// Everything that the person was asked so far, in order.
    ///
    /// # Errors
    /// When a line is not understood.
    pub fn asked(&self) -> Result<Vec<Asked>> {
        let text = match fs::read_to_string(self.path(ASKED)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        text.lines().map(asked).collect()
    }
}

fn asked(line: &str) -> Result<Asked> {
    let hex = |number: &str| u32::from_str_radix(number.trim_start_matches("0x"), 16);
    Ok(match line.split('|').collect::<Vec<_>>()[..] {
        ["question", title, text, kind] => Asked::Question { title: title.into(), text: text.into(), kind: hex(kind)? },
        ["prompt", verb, file, parameters, directory, mask, show] => Asked::Prompt {
            verb: verb.into(),
            file: file.into(),
            parameters: parameters.into(),
            directory: directory.into(),
            mask: hex(mask)?,
            show: show.parse()?,
        },
        _ => bail!("not understood: {line}"),
    })
}
