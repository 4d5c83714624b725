//! A metadata file on its way to be signed, and who must sign it.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use release::tuf::MetadataFile;
use serde_json::{Value, json};
use sigstore_tuf::canonical_json::to_canonical_bytes;

use super::keys::{PublicKey, SecretKey};

/// The keys that may sign a role, and how many of them must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Who says so, such as `root 3`.
    pub by: String,
    /// Ids, each once, with their keys.
    pub keys: Vec<(String, Option<PublicKey>)>,
    pub threshold: usize,
}

impl Authority {
    /// What a root, or the `delegations` of a targets role, says about a role's keys. `entry` has `keyids` and `threshold`, `keys`
    /// is indexed by id.
    pub fn read(by: String, entry: &Value, keys: &Value) -> Self {
        let public = |id: &str| {
            let key = keys.get(id)?;
            PublicKey::from_hex(key.pointer("/keyval/public")?.as_str()?)
        };
        let ids: BTreeSet<&str> =
            entry.get("keyids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let keys = ids.into_iter().map(|id| (id.to_owned(), public(id))).collect();
        let threshold = entry.get("threshold").and_then(Value::as_u64).and_then(|t| usize::try_from(t).ok());
        // Without a threshold nothing can be satisfied.
        Self { by, keys, threshold: threshold.unwrap_or(usize::MAX) }
    }

    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|(known, _)| known == id)
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }
}

/// A role's metadata with the signatures so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// `root`, `targets`, or a delegated role.
    pub role: String,
    pub signed: Value,
    signatures: Vec<Value>,
}

impl Envelope {
    pub fn new(role: &str, signed: Value) -> Self {
        Self { role: role.to_owned(), signed, signatures: Vec::new() }
    }

    pub fn parse(role: &str, bytes: &[u8]) -> anyhow::Result<Self> {
        let mut value: Value = serde_json::from_slice(bytes).context("metadata is not JSON")?;
        let signed = value.get_mut("signed").map(Value::take).context("metadata has no signed part")?;
        let signatures = match value.get_mut("signatures").map(Value::take) {
            Some(Value::Array(signatures)) => signatures,
            _ => anyhow::bail!("metadata has no signatures"),
        };
        Ok(Self { role: role.to_owned(), signed, signatures })
    }

    pub fn version(&self) -> anyhow::Result<u64> {
        version(&self.signed)
    }

    /// The name that it is published with. Role names are chosen so that nothing has to be encoded.
    pub fn name(&self) -> anyhow::Result<String> {
        Ok(match self.role.as_str() {
            "timestamp" => "timestamp.json".into(),
            role => format!("{}.{role}.json", self.version()?),
        })
    }

    /// Adds a signature, unless that key has signed already.
    pub fn sign(&mut self, key: &SecretKey) -> anyhow::Result<()> {
        let signature = key.sign(&self.canonical()?)?;
        let same = |known: &Value| known.get("keyid") == signature.get("keyid");
        self.signatures.retain(|known| !same(known));
        self.signatures.push(signature);
        self.sort();
        Ok(())
    }

    /// Takes over the signatures of a copy that was signed elsewhere. Says how many were new.
    pub fn collect(&mut self, copy: &Self) -> anyhow::Result<usize> {
        ensure!(copy.signed == self.signed, "{} is not a copy of what was prepared here", self.name()?);
        let new = copy.signatures.iter().filter(|s| !self.signatures.contains(s)).cloned().collect::<Vec<_>>();
        let count = new.len();
        self.signatures.extend(new);
        self.sort();
        Ok(count)
    }

    fn sort(&mut self) {
        self.signatures.sort_by_key(|s| s.get("keyid").and_then(Value::as_str).map(str::to_owned));
    }

    /// The ids of an authority's keys that have signed, and whose signatures are good.
    pub fn signers(&self, authority: &Authority) -> anyhow::Result<BTreeSet<String>> {
        let canonical = self.canonical()?;
        let mut good = BTreeSet::new();
        for signature in &self.signatures {
            let Some(id) = signature.get("keyid").and_then(Value::as_str) else { continue };
            let bytes = signature.get("sig").and_then(Value::as_str).and_then(|sig| hex::decode(sig).ok());
            let key = authority.keys.iter().find(|(known, _)| known == id).and_then(|(_, key)| key.as_ref());
            if matches!((key, bytes), (Some(key), Some(bytes)) if key.verifies(&canonical, &bytes)) {
                good.insert(id.to_owned());
            }
        }
        Ok(good)
    }

    pub fn is_signed_for(&self, authority: &Authority) -> anyhow::Result<bool> {
        Ok(self.signers(authority)?.len() >= authority.threshold)
    }

    pub fn file(&self) -> anyhow::Result<MetadataFile> {
        let bytes = to_canonical_bytes(&json!({ "signed": self.signed, "signatures": self.signatures }))?;
        Ok(MetadataFile { name: self.name()?, bytes })
    }

    fn canonical(&self) -> anyhow::Result<Vec<u8>> {
        to_canonical_bytes(&self.signed).context("metadata has no canonical form")
    }
}

/// The version of a `signed` part.
pub fn version(signed: &Value) -> anyhow::Result<u64> {
    signed.get("version").and_then(Value::as_u64).context("metadata has no version")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(keys: &[&SecretKey], threshold: usize) -> Authority {
        let keys = keys.iter().map(|key| (key.public().id(), Some(key.public()))).collect();
        Authority { by: "root 1".into(), keys, threshold }
    }

    #[test]
    fn a_key_counts_once_and_only_where_its_signature_is_good() {
        let (one, two) = (SecretKey::generate(), SecretKey::generate());
        let both = authority(&[&one, &two], 2);
        let mut envelope = Envelope::new("targets", json!({ "_type": "targets", "version": 4 }));
        envelope.sign(&one).unwrap();
        envelope.sign(&one).unwrap();
        assert_eq!(envelope.signers(&both).unwrap().len(), 1);
        assert!(!envelope.is_signed_for(&both).unwrap());

        let mut copy = Envelope::new("targets", envelope.signed.clone());
        copy.sign(&two).unwrap();
        assert_eq!((envelope.collect(&copy).unwrap(), envelope.collect(&copy).unwrap()), (1, 0));
        assert!(envelope.is_signed_for(&both).unwrap());

        let mut other = Envelope::parse("targets", &envelope.file().unwrap().bytes).unwrap();
        other.signed["version"] = 5.into();
        assert!(other.signers(&both).unwrap().is_empty(), "the signatures are for other content");
        assert!(envelope.collect(&other).is_err());
    }
}
