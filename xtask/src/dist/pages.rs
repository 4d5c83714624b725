//! Manual pages, from what the programs say themselves.

use std::{fmt::Write as _, path::Path, process::Command};

use anyhow::Result;

use crate::process::must;

/// The manual page of a program: its help, and that of each of its commands.
///
/// # Errors
/// When the program does not answer to `--help`.
pub fn manual(program: &Path, section: u8, version: &str, date: &str) -> Result<String> {
    let name = program.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let help = help(program, &[])?;
    let summary = help.lines().next().unwrap_or_default().trim_end_matches('.');
    let mut page = String::new();
    writeln!(page, ".TH {} {section} \"{date}\" \"Lockstep {version}\" \"Lockstep\"", name.to_uppercase())?;
    writeln!(page, ".SH NAME\n{} \\- {}", escaped(name), escaped(&lower_first(summary)))?;
    writeln!(page, ".SH DESCRIPTION")?;
    verbatim(&mut page, &help)?;
    let commands = commands(&help);
    if !commands.is_empty() {
        writeln!(page, ".SH COMMANDS")?;
    }
    for command in commands {
        writeln!(page, ".SS {} {}", escaped(name), escaped(&command))?;
        verbatim(&mut page, &self::help(program, &[&command])?)?;
    }
    Ok(page)
}

fn help(program: &Path, words: &[&str]) -> Result<String> {
    // Not as wide as whoever makes the package has their terminal.
    must(Command::new(program).args(words).arg("--help").env("COLUMNS", "80"))
}

/// The names under "Commands:".
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    let names =
        listed.filter(|l| l.starts_with("  ") && !l.starts_with("   ")).filter_map(|l| l.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn verbatim(page: &mut String, text: &str) -> Result<()> {
    writeln!(page, ".nf")?;
    for line in text.trim_end().lines() {
        // A line that begins with a full stop or an apostrophe would be a command to the formatter.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        writeln!(page, "{guard}{}", escaped(line))?;
    }
    Ok(writeln!(page, ".fi")?)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_the_help_and_nothing_becomes_a_formatters_command() {
        let help = "Does it.\n\nUsage: x\n\nCommands:\n  run     Runs it\n            on and on\n  status  Says\n  help    Print\n\nOptions:\n  -h\n";
        assert_eq!(commands(help), ["run", "status"]);
        let mut page = String::new();
        verbatim(&mut page, ".x\n'y\na\\b").unwrap();
        assert_eq!(page, ".nf\n\\&.x\n\\&'y\na\\eb\n.fi\n");
    }
}
