//! Changing one switch in `server.toml` and nothing else: comments and order stay.

use std::{fs, path::Path};

use toml_edit::{DocumentMut, Item, Table, value};

use super::{Config, ConfigError};

/// Sets `[section] key = on` in the file, and replaces it atomically.
///
/// # Errors
/// [`ConfigError`]: the file cannot be read, is not valid (it is then left alone), or cannot be replaced.
pub fn set_switch(path: &Path, section: &str, key: &str, on: bool) -> Result<(), ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
    let invalid = |message| ConfigError::Invalid { path: path.into(), message };
    let edited = switched(&text, section, key, on).map_err(invalid)?;
    Config::parse(&edited).map_err(invalid)?;
    release::durable::replace(path, edited.as_bytes(), release::durable::Access::Private)
        .map_err(|source| ConfigError::Write { path: path.into(), source })
}

fn switched(text: &str, section: &str, key: &str, on: bool) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
    let table = document.entry(section).or_insert_with(|| Item::Table(Table::new()));
    let table = table.as_table_like_mut().ok_or_else(|| format!("{section} is not a table"))?;
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(present) => {
            let decor = present.decor().clone();
            *present = toml_edit::Value::from(on);
            *present.decor_mut() = decor;
        }
        None => {
            table.insert(key, value(on));
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_changes_its_own_value_and_keeps_every_comment() {
        let text = "# first\n[readiness]\n# why\nenabled = true # remark\nreport_every = \"14 days\"\n";
        let edited = switched(text, "readiness", "enabled", false).unwrap();
        assert_eq!(edited, text.replace("true", "false"));
    }

    #[test]
    fn a_switch_that_the_administrator_deleted_comes_back() {
        let edited = switched("listen = \"x\"\n", "statistics", "contribute", true).unwrap();
        assert_eq!(edited, "listen = \"x\"\n\n[statistics]\ncontribute = true\n");
    }
}
