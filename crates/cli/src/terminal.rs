//! What reaches the terminal, and what is asked there.
//!
//! | attack | answer |
//! |---|---|
//! | a host name, user or version with escape sequences (CVE-2009-4487) | [`plain`] on everything that another machine sent |
//! | one with line breaks that fakes a row, or with U+202E that reverses one | the same |
//! | one of a megabyte | the same: it is cut |

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Context;
use unicode_width::UnicodeWidthStr;

/// Characters; longer text from elsewhere is cut.
const MAX: usize = 200;

/// Characters of a PC's name in a table: one that is absurdly long must not push the other columns away.
pub const PC_WIDTH: usize = 40;

/// A failure whose JSON was printed already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Reported(pub String);

/// Makes text from another machine harmless: one line, no controls, nothing invisible, not too long.
pub fn plain(text: &str) -> String {
    plain_within(text, MAX)
}

/// As [`plain`], for lines that are longer by nature.
pub fn plain_within(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for (n, c) in text.chars().enumerate() {
        if n == max {
            out.push('…');
            break;
        }
        if is_harmless(c) { out.push(c) } else { out.extend(c.escape_unicode()) }
    }
    out
}

fn is_harmless(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !invisible
}

/// Aligns rows under their heads. Cells must be [`plain`] already.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heads.iter().map(|h| h.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            let pad = width.saturating_sub(cell.width());
            format!("{cell}{}", " ".repeat(pad))
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(heads.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// A number of things, in words.
pub fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// Asks a question whose answer is no unless somebody says yes. `None`: there is nobody to ask.
pub fn confirm(question: &str) -> anyhow::Result<Option<bool>> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().context("cannot write to the terminal")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_move_the_cursor_or_fake_a_row() {
        for hostile in ["\x1b[2J", "a\nb", "a\rb", "\u{9b}31m", "a\u{202e}b", "a\u{200b}b", "\u{7f}"] {
            let shown = plain(hostile);
            assert!(shown.chars().all(is_harmless), "{shown:?}");
        }
        assert_eq!(plain("\x1b[2J"), "\\u{1b}[2J");
        assert_eq!(plain("Zoë's PC (日本)"), "Zoë's PC (日本)");
        assert_eq!(plain(&"x".repeat(1_000_000)).chars().count(), MAX + 1);
    }

    #[test]
    fn one_is_not_counted_as_many() {
        assert_eq!([count(0, "file"), count(1, "file"), count(2, "file")], ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn columns_stay_aligned_under_wide_characters() {
        let rows = vec![vec!["日本".to_owned(), "1".to_owned()], vec!["a".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["USER", "N"], &rows), "USER  N\n日本  1\na     22");
    }
}
