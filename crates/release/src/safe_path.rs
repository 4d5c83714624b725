//! Which relative paths may ever become files.
//!
//! One rule for every system, so that a package which is safe on Linux is safe on Windows too.
//!
//! | attack | answer |
//! |---|---|
//! | `../x`, `a/../../x`, `./x`, `a//b` | a segment is never empty, `.` or `..` |
//! | `/etc/passwd`, `\\server\share`, `C:\x`, `C:x` | no leading `/`, no `\`, no `:` anywhere |
//! | `a:stream` (NTFS alternate stream) | no `:` |
//! | `NUL.txt`, `com1` (devices) | reserved names refused, whatever follows the first dot |
//! | `x.`, `x ` (Windows strips them: another file is written) | no segment ends in a dot or a space |
//! | control characters, look-alikes, normalisation | printable ASCII only |
//! | `A` and `a`, `a` and `a/b` | [`Tree::insert`] refuses the second |

use std::collections::BTreeMap;

/// Bytes; a longer path is refused. It leaves room for an installation directory under Windows' limit of 260.
pub const MAX_LENGTH: usize = 180;

/// Segments; a deeper path is refused.
pub const MAX_DEPTH: usize = 16;

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a safe path: {why}")]
pub struct Unsafe {
    path: String,
    why: &'static str,
}

/// Checks one relative path with `/` between its segments.
///
/// # Errors
/// [`Unsafe`] with the first reason found.
pub fn check(path: &str) -> Result<(), Unsafe> {
    let refuse = |why| Err(Unsafe { path: path.chars().take(MAX_LENGTH).collect(), why });
    if path.is_empty() {
        return refuse("it is empty");
    }
    if path.len() > MAX_LENGTH {
        return refuse("it is longer than 180 bytes");
    }
    if path.split('/').count() > MAX_DEPTH {
        return refuse("it is more than 16 directories deep");
    }
    if !path.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return refuse("only printable ASCII is allowed");
    }
    if path.contains(['\\', ':', '<', '>', '"', '|', '?', '*']) {
        return refuse("it contains a character that some system gives a meaning");
    }
    for segment in path.split('/') {
        match segment {
            "" => return refuse("it is absolute or has an empty segment"),
            "." | ".." => return refuse("it climbs or stays in place"),
            _ if segment.ends_with(['.', ' ']) => return refuse("a segment ends in a dot or a space"),
            _ if is_reserved(segment) => return refuse("a segment is the name of a device on Windows"),
            _ => {}
        }
    }
    Ok(())
}

/// Windows takes these for devices with any extension and in any directory.
fn is_reserved(segment: &str) -> bool {
    let stem = segment.split('.').next().unwrap_or(segment).trim_end_matches(' ').to_ascii_uppercase();
    let numbered = |prefix| {
        stem.strip_prefix(prefix).is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$")
        || numbered("COM")
        || numbered("LPT")
}

/// The files of one tree, checked against each other.
#[derive(Debug, Default)]
pub struct Tree {
    /// Every file and directory, by its path in lower case: its spelling, and whether it is a file.
    known: BTreeMap<String, (String, bool)>,
}

impl Tree {
    /// Adds a file.
    ///
    /// # Errors
    /// [`Unsafe`] when the path is, or when it would be the same file as another, or lie inside one, on a system
    /// that does not tell upper from lower case.
    pub fn insert(&mut self, path: &str) -> Result<(), Unsafe> {
        check(path)?;
        let refuse = |why| Err(Unsafe { path: path.to_owned(), why });
        let ends = path.match_indices('/').map(|(at, _)| (at, false)).chain([(path.len(), true)]);
        for (end, is_file) in ends {
            let spelling = &path[..end];
            match self.known.get(&spelling.to_ascii_lowercase()) {
                Some((other, _)) if other != spelling => return refuse("another path differs from it in case only"),
                Some(_) if is_file => return refuse("another file or directory has this path"),
                Some((_, true)) => return refuse("another path is a file where this one has a directory"),
                Some(_) => {}
                None => {
                    self.known.insert(spelling.to_ascii_lowercase(), (spelling.to_owned(), is_file));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_are_accepted() {
        for good in
            ["a", "bin/lockstep-connector", "share/doc/READ ME.txt", ".hidden", "a/b.c/d-e_f+g", "COMMON", "nulls"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn paths_that_leave_the_tree_or_mean_something_else_are_refused() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/./b",
            "a//b",
            "a/",
            "\\\\server\\share",
            "C:\\x",
            "C:x",
            "a:b",
            "NUL",
            "nul.txt",
            "a/Com1.tar.gz",
            "LPT9",
            "con .txt",
            "CONIN$",
            "x.",
            "x ",
            "a./b",
            "a\nb",
            "a\0b",
            "ä",
            "a\u{202e}b",
            "a*",
            "a?",
            "a|b",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&"a".repeat(181)).is_err());
        assert!(check(&["a"; 17].join("/")).is_err());
    }

    #[test]
    fn two_paths_that_could_be_one_file_are_refused() {
        for (first, second) in
            [("a", "a"), ("a", "A"), ("bin/x", "Bin/y"), ("a", "a/b"), ("a/b", "a"), ("a/b/c", "A/b")]
        {
            let mut tree = Tree::default();
            tree.insert(first).unwrap();
            assert!(tree.insert(second).is_err(), "{first} then {second}");
        }
        let mut tree = Tree::default();
        for path in ["bin/x", "bin/y", "lib/x"] {
            tree.insert(path).unwrap();
        }
    }
}
