//! The keys that are at hand: in key directories, and named one by one. Each is opened when it is needed, once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::bail;

use super::{
    ceremony::{Ceremony, missing},
    delegations::common_name,
    envelope::{Authority, Envelope},
    key_ref::{KeyRef, URI_FILE},
    keys::SecretKey,
    passphrase::Passphrase,
};

/// See above.
pub struct Signers<'a> {
    directories: Vec<PathBuf>,
    named: Vec<KeyRef>,
    passphrase: &'a Passphrase,
    opened: BTreeMap<KeyRef, Rc<SecretKey>>,
}

impl<'a> Signers<'a> {
    pub fn new(directories: &[&Path], named: &[KeyRef], passphrase: &'a Passphrase) -> Self {
        let directories = directories.iter().map(|d| (*d).to_owned()).collect();
        Self { directories, named: named.to_vec(), passphrase, opened: BTreeMap::new() }
    }

    /// Signs what is prepared with as many keys as it needs and as there are.
    pub fn sign_all(&mut self, ceremony: &mut Ceremony) -> anyhow::Result<()> {
        for at in 0..ceremony.envelopes.len() {
            let authorities = ceremony.authorities(&ceremony.envelopes[at].role)?;
            for authority in &authorities {
                self.sign(&mut ceremony.envelopes[at], authority)?;
            }
        }
        Ok(())
    }

    /// The same for one file, which must then be complete. Where it is not, says which keys of this role are here and do not count.
    pub fn complete(&mut self, envelope: &mut Envelope, authority: &Authority) -> anyhow::Result<()> {
        self.sign(envelope, authority)?;
        match missing(envelope, authority)? {
            None => Ok(()),
            Some(missing) => bail!("{missing}{}", self.strangers(&envelope.role, authority)),
        }
    }

    /// Keys that are here under a role's name and do not count for it.
    pub fn strangers(&self, role: &str, authority: &Authority) -> String {
        let names = self.candidates(role);
        let opened = names.iter().filter_map(|name| Some((name, self.opened.get(name)?.public().id())));
        let text = opened
            .filter(|(_, id)| !authority.has(id))
            .map(|(name, id)| format!("\nthe key {id} in {name} is not a {role} key of this repository"));
        text.collect()
    }

    fn sign(&mut self, envelope: &mut Envelope, authority: &Authority) -> anyhow::Result<()> {
        for candidate in self.candidates(&envelope.role) {
            let signed = envelope.signers(authority)?;
            if signed.len() >= authority.threshold {
                return Ok(());
            }
            let key = self.open(&candidate)?;
            let id = key.public().id();
            if authority.has(&id) && !signed.contains(&id) {
                envelope.sign(&key)?;
            }
        }
        Ok(())
    }

    /// Where a key of a role may be: those that were named, and `<role>.pem`, `<role>1.pem`, `<role>-….pem` in the directories, or the same
    /// with a `pkcs11:` URI in it.
    fn candidates(&self, role: &str) -> Vec<KeyRef> {
        let base = common_name(role);
        let mut found = Vec::new();
        for directory in &self.directories {
            let Ok(entries) = std::fs::read_dir(directory) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
                let ours = path.extension().is_some_and(|e| e == "pem" || e == URI_FILE);
                let Some(rest) = stem.strip_prefix(base).filter(|_| ours) else { continue };
                let old = rest.contains("-until-root-") || rest.ends_with("-new");
                if !old && (rest.is_empty() || rest.starts_with('-') || rest.bytes().all(|b| b.is_ascii_digit())) {
                    found.push(KeyRef::File(path));
                }
            }
        }
        found.sort_by_key(|key| (key.to_string().len(), key.to_string()));
        self.named.iter().cloned().chain(found).collect()
    }

    fn open(&mut self, key: &KeyRef) -> anyhow::Result<Rc<SecretKey>> {
        if let Some(open) = self.opened.get(key) {
            return Ok(open.clone());
        }
        let open = Rc::new(key.open(self.passphrase)?);
        self.opened.insert(key.clone(), open.clone());
        Ok(open)
    }
}
