//! Running programs: command lines word for word, whole exit codes.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use mail_rig::process::Background;

use crate::{Pc, base::START};

/// What a program has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code, all 32 bits.
    pub code: u32,
    /// What it printed, with line feeds only.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Pc {
    /// Runs a program to its end. `exe` is a path or name of Windows; each of `arguments` arrives as one.
    ///
    /// # Errors
    /// When the PC is off, or the program cannot be started (Windows' own error number).
    pub fn run(&self, exe: &str, arguments: &[&str]) -> Result<Ran> {
        self.run_line(&command_line(exe, arguments))
    }

    /// As [`Pc::run`], for a program that must succeed; gives what it printed.
    ///
    /// # Errors
    /// When it does not; the error shows what it printed.
    pub fn must(&self, exe: &str, arguments: &[&str]) -> Result<String> {
        let ran = self.run(exe, arguments)?;
        ensure!(ran.code == 0, "{exe} {arguments:?} ended with {}:\n{}{}", ran.code, ran.stdout, ran.stderr);
        Ok(ran.stdout)
    }

    /// Runs a command line, word for word as somebody typed it.
    ///
    /// # Errors
    /// As [`Pc::run`].
    pub fn run_line(&self, line: &str) -> Result<Ran> {
        ensure!(self.is_on(), "{} is off", self.name());
        let work = tempfile::tempdir()?;
        let at = |name: &str| work.path().join(name);
        fs::write(at("line"), line)?;
        // Files, not pipes: what the program leaves running may hold them open.
        let (out, err) = (File::create(at("out"))?, File::create(at("err"))?);
        let mut command = self.command("wine");
        command.arg(START).args([self.windows(&at("code")), self.windows(&at("line"))]);
        let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status().context("starting wine")?;
        let stderr = text(&at("err"))?;
        ensure!(status.success(), "{}: the rig's own starter ended with {status}: {stderr}", self.name());
        let answer = fs::read_to_string(at("code")).context("the exit code")?;
        let mut numbers = answer.lines().map(str::parse::<u32>);
        let mut number = || numbers.next().context("the exit code is not there")?.context("the exit code is no number");
        let (code, error) = (number()?, number()?);
        ensure!(error == 0, "{}: Windows cannot start {line}: error {error}", self.name());
        Ok(Ran { code, stdout: text(&at("out"))?, stderr })
    }

    /// Runs `msiexec` with what follows on its command line, and gives its exit code: 0, 1603, 1638, 3010 …
    ///
    /// # Errors
    /// When the PC is off.
    pub fn msiexec(&self, line: &str) -> Result<u32> {
        Ok(self.run_line(&format!("msiexec {line}"))?.code)
    }

    /// Starts a program that goes on beside us until it is stopped, dropped or the PC loses power; what it prints goes to `log`.
    ///
    /// # Errors
    /// When the PC is off, or Wine cannot be started.
    pub fn spawn(&self, name: &str, exe: &str, arguments: &[&str], log: &Path) -> Result<Background> {
        ensure!(self.is_on(), "{} is off", self.name());
        let mut command: Command = self.command("wine");
        Background::start(name, command.arg(exe).args(arguments), log)
    }
}

fn text(file: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(file)?).replace("\r\n", "\n"))
}

/// A command line that a program of Windows splits into these very arguments (the rules of `CommandLineToArgvW`).
pub fn command_line(exe: &str, arguments: &[&str]) -> String {
    let mut line = format!("\"{exe}\"");
    for argument in arguments {
        line.push(' ');
        line.push_str(&quoted(argument));
    }
    line
}

fn quoted(argument: &str) -> String {
    if !argument.is_empty() && !argument.contains([' ', '\t', '\n', '"']) {
        return argument.to_owned();
    }
    let mut out = String::from("\"");
    let mut backslashes = 0;
    for c in argument.chars() {
        if c == '"' {
            // Those before a quotation mark count double, and one more makes it a plain one.
            out.push_str(&"\\".repeat(backslashes + 1));
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        out.push(c);
    }
    out.push_str(&"\\".repeat(backslashes));
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_quoted_where_windows_would_split_it() {
        assert_eq!(command_line(r"C:\a b\x.exe", &["plain", "", "a b"]), r#""C:\a b\x.exe" plain "" "a b""#);
        assert_eq!(quoted(r#"say "hi""#), r#""say \"hi\"""#);
        assert_eq!(quoted(r"C:\with space\"), r#""C:\with space\\""#);
        assert_eq!(quoted(r#"a\"b"#), r#""a\\\"b""#);
    }
}
