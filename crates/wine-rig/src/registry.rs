//! Reading and writing a PC's registry, as Windows' own `reg` sees it.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail, ensure};

use crate::Pc;

/// The values of one key, by name; the default value's name is empty.
pub type Key = BTreeMap<String, Value>;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `REG_SZ`
    Text(String),
    /// `REG_EXPAND_SZ`
    Expand(String),
    /// `REG_DWORD`
    Number(u32),
    /// `REG_MULTI_SZ`
    Many(Vec<String>),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Pc {
    /// A key and everything below it: keys by their path below `key` (itself: empty). Empty when there is no such key.
    ///
    /// # Errors
    /// When the PC is off, or what `reg` exports is not understood.
    pub fn registry(&self, key: &str) -> Result<BTreeMap<String, Key>> {
        let work = tempfile::tempdir()?;
        let file = work.path().join("exported.reg");
        let ran = self.run("reg", &["export", key, &self.windows(&file), "/y"])?;
        if ran.code != 0 {
            ensure!(!file.exists(), "reg export {key} ended with {}: {}{}", ran.code, ran.stdout, ran.stderr);
            return Ok(BTreeMap::new());
        }
        let bytes = fs::read(&file)?;
        let units: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        let text = String::from_utf16(&units).context("the export is no UTF-16")?;
        parse(&text.replace("\r\n", "\n")).with_context(|| format!("the export of {key}"))
    }

    /// One value; `None` when it or its key is not there.
    ///
    /// # Errors
    /// As [`Pc::registry`].
    pub fn registry_value(&self, key: &str, name: &str) -> Result<Option<Value>> {
        Ok(self.registry(key)?.remove("").and_then(|mut values| values.remove(name)))
    }

    /// A text value; `None` when it is not there or no text.
    ///
    /// # Errors
    /// As [`Pc::registry`].
    pub fn registry_text(&self, key: &str, name: &str) -> Result<Option<String>> {
        Ok(match self.registry_value(key, name)? {
            Some(Value::Text(text) | Value::Expand(text)) => Some(text),
            _ => None,
        })
    }

    /// Sets a value, as `reg add` does.
    ///
    /// # Errors
    /// When it refuses.
    pub fn set_registry(&self, key: &str, name: &str, value: &Value) -> Result<()> {
        let (kind, data) = match value {
            Value::Text(text) => ("REG_SZ", text.clone()),
            Value::Expand(text) => ("REG_EXPAND_SZ", text.clone()),
            Value::Number(number) => ("REG_DWORD", number.to_string()),
            Value::Many(texts) => ("REG_MULTI_SZ", texts.join("\\0")),
            Value::Bytes(bytes) => ("REG_BINARY", bytes.iter().map(|b| format!("{b:02x}")).collect()),
        };
        self.must("reg", &["add", key, "/v", name, "/t", kind, "/d", &data, "/f"]).map(drop)
    }
}

/// The text form of Windows' registry editor, version 5.
fn parse(text: &str) -> Result<BTreeMap<String, Key>> {
    let mut keys = BTreeMap::new();
    let mut root: Option<String> = None;
    let mut here: Option<String> = None;
    let joined = text.replace("\\\n  ", "");
    for line in joined.lines().skip(1).filter(|l| !l.is_empty()) {
        if let Some(path) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let root = root.get_or_insert_with(|| path.to_owned());
            let below = path.strip_prefix(root.as_str()).context("a key outside")?.trim_start_matches('\\').to_owned();
            keys.entry(below.clone()).or_insert_with(Key::new);
            here = Some(below);
        } else {
            let key = here.as_ref().and_then(|h| keys.get_mut(h)).with_context(|| format!("before any key: {line}"))?;
            let (name, rest) =
                if let Some(rest) = line.strip_prefix('@') { (String::new(), rest) } else { string(line)? };
            key.insert(name, value(rest.strip_prefix('=').with_context(|| format!("no value: {line}"))?)?);
        }
    }
    Ok(keys)
}

/// A quoted string, and what follows it.
fn string(text: &str) -> Result<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    ensure!(text.starts_with('"'), "not quoted: {text}");
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &text[at + 1..])),
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            c => out.push(c),
        }
    }
    bail!("the string does not end: {text}")
}

fn value(text: &str) -> Result<Value> {
    if text.starts_with('"') {
        return Ok(Value::Text(string(text)?.0));
    }
    if let Some(number) = text.strip_prefix("dword:") {
        return Ok(Value::Number(u32::from_str_radix(number, 16)?));
    }
    let (kind, hex) = text.split_once(':').with_context(|| format!("of no known kind: {text}"))?;
    let bytes: Vec<u8> =
        hex.split(',').filter(|h| !h.is_empty()).map(|h| u8::from_str_radix(h.trim(), 16)).collect::<Result<_, _>>()?;
    let wide = || -> String {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    Ok(match kind {
        "hex(2)" => Value::Expand(wide().trim_end_matches('\0').to_owned()),
        "hex(7)" => Value::Many(wide().split('\0').filter(|s| !s.is_empty()).map(str::to_owned).collect()),
        _ => Value::Bytes(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_read() {
        let text = "\u{feff}Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\Software\\X]\n@=\"it\"\n\
            \"a \\\"b\\\"\\\\\"=\"C:\\\\x\"\n\"n\"=dword:0000001f\n\"m\"=hex(7):61,00,00,00,\\\n  62,00,00,00,00,00\n\n\
            [HKEY_LOCAL_MACHINE\\Software\\X\\y]\n\"e\"=hex(2):25,00,00,00\n\"b\"=hex:01,02\n";
        let keys = parse(text).unwrap();
        assert_eq!(keys[""][""], Value::Text("it".into()));
        assert_eq!(keys[""]["a \"b\"\\"], Value::Text(r"C:\x".into()));
        assert_eq!(keys[""]["n"], Value::Number(31));
        assert_eq!(keys[""]["m"], Value::Many(vec!["a".into(), "b".into()]));
        assert_eq!(keys["y"]["e"], Value::Expand("%".into()));
        assert_eq!(keys["y"]["b"], Value::Bytes(vec![1, 2]));
    }
}
