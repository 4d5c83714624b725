//! `pkcs11:` URIs (RFC 7512): which key, in which token, through which module.

use std::{collections::BTreeMap, path::PathBuf};

/// The scheme, with its colon.
pub const SCHEME: &str = "pkcs11:";

/// Why a text is no such URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("a PKCS #11 key is named as pkcs11:token=NAME;object=KEY?module-path=/path/to/module.so")]
    Scheme,
    #[error("{0:?} is not name=value")]
    Pair(String),
    #[error("{0:?} has a bad % sequence, or is not text")]
    Encoding(String),
    #[error("{0} is there twice")]
    Twice(String),
    #[error("{0} is not supported; token, serial, object, id, type, module-path and pin-source are")]
    Unsupported(String),
    #[error("it names no key: give object=, id=, or both")]
    NoKey,
    #[error(
        "a PIN does not belong into a URI, where others see it; use pin-source=file:/path, LOCKSTEP_PIN, or be asked"
    )]
    PinValue,
}

/// A key in a token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pkcs11Uri {
    /// As it was given.
    pub text: String,
    /// The token's label.
    pub token: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The key's label (`CKA_LABEL`).
    pub object: Option<String>,
    /// The key's `CKA_ID`.
    pub id: Option<Vec<u8>>,
    /// The PKCS#11 module, a shared library.
    pub module: Option<PathBuf>,
    /// The file with the PIN.
    pub pin_source: Option<PathBuf>,
}

impl Pkcs11Uri {
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let rest = text.trim().strip_prefix(SCHEME).ok_or(UriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut found = BTreeMap::new();
        for pair in path.split(';').chain(query.split('&')).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| UriError::Pair(pair.into()))?;
            if name == "pin-value" {
                return Err(UriError::PinValue);
            }
            if found.insert(name, decode(value)?).is_some() {
                return Err(UriError::Twice(name.into()));
            }
        }
        let mut uri = Self { text: text.trim().into(), ..Self::default() };
        for (name, value) in found {
            let as_text = || String::from_utf8(value.clone()).map_err(|_| UriError::Encoding(name.into()));
            match name {
                "token" => uri.token = Some(as_text()?),
                "serial" => uri.serial = Some(as_text()?),
                "object" => uri.object = Some(as_text()?),
                "id" => uri.id = Some(value),
                "module-path" => uri.module = Some(as_text()?.into()),
                "pin-source" => {
                    let source = as_text()?;
                    uri.pin_source = Some(source.strip_prefix("file:").unwrap_or(&source).into());
                }
                "type" if value == b"private" => {}
                other => return Err(UriError::Unsupported(other.into())),
            }
        }
        if uri.object.is_none() && uri.id.is_none() {
            return Err(UriError::NoKey);
        }
        Ok(uri)
    }
}

/// Percent-decoding (RFC 3986, section 2.1).
fn decode(text: &str) -> Result<Vec<u8>, UriError> {
    let bad = || UriError::Encoding(text.into());
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (digit(bytes.next()).ok_or_else(bad)?, digit(bytes.next()).ok_or_else(bad)?);
        out.push(u8::try_from(high * 16 + low).map_err(|_| bad())?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_which_key_and_how_to_reach_it() {
        let uri = "pkcs11:token=The%20vendor;object=targets;id=%01%fF;type=private?module-path=/usr/lib/x.so&pin-source=file:/run/pin";
        let parsed = Pkcs11Uri::parse(uri).unwrap();
        assert_eq!(parsed.token.as_deref(), Some("The vendor"));
        assert_eq!(parsed.object.as_deref(), Some("targets"));
        assert_eq!(parsed.id, Some(vec![1, 255]));
        assert_eq!(parsed.module, Some("/usr/lib/x.so".into()));
        assert_eq!(parsed.pin_source, Some("/run/pin".into()));
        assert_eq!(parsed.text, uri);
    }

    #[test]
    fn what_cannot_be_followed_is_refused_with_its_reason() {
        for (uri, why) in [
            ("file:/x", UriError::Scheme),
            ("pkcs11:token=a", UriError::NoKey),
            ("pkcs11:object=a;object=b", UriError::Twice("object".into())),
            ("pkcs11:object=a;token", UriError::Pair("token".into())),
            ("pkcs11:object=%4", UriError::Encoding("%4".into())),
            ("pkcs11:object=%ff", UriError::Encoding("object".into())),
            ("pkcs11:object=a?pin-value=1234", UriError::PinValue),
            ("pkcs11:object=a;slot-id=7", UriError::Unsupported("slot-id".into())),
        ] {
            assert_eq!(Pkcs11Uri::parse(uri), Err(why), "{uri}");
        }
    }
}
