//! The check of docs: every link to a file of this repository leads somewhere, and nothing names a path outside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};

use crate::workspace;

/// Checks every Markdown file.
///
/// # Errors
/// When a link leads nowhere: which one, and where it stands.
pub fn check() -> Result<()> {
    let mut broken = Vec::new();
    for file in markdown(&workspace())? {
        let text = fs::read_to_string(&file)?;
        let base = file.parent().map(Path::to_path_buf).unwrap_or_default();
        for link in links(&text) {
            if !base.join(link).exists() {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    ensure!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    println!("ok  links");
    Ok(())
}

fn markdown(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(markdown(&path)?);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The targets of the links to files: without web addresses, and without the part after `#`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .map(|target| target.split('#').next().unwrap_or(target))
        .filter(|target| !target.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found_and_others_left_alone() {
        let text = "[a](docs/a.md#part) [b](https://example.test/x) [c](#here) ![d](d.png)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/a.md", "d.png"]);
    }
}
