//! Requests that a device has signed.

use axum::http::HeaderMap;
use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use protocol::message::{DEVICE_HEADER, SIGNATURE_HEADER, signed_bytes};

use crate::{app::App, failure::Refusal, store::DeviceRow};

/// The device that signed a request for `path`.
///
/// The sequence number inside the body is for the caller to check, together with what it stores.
///
/// # Errors
/// 401, with the reason in words.
pub async fn signer(app: &App, headers: &HeaderMap, path: &str, body: &[u8]) -> Result<DeviceRow, Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let id = text(DEVICE_HEADER).ok_or_else(|| Refusal::unknown(format!("the header {DEVICE_HEADER} is missing")))?;
    let signature =
        text(SIGNATURE_HEADER).ok_or_else(|| Refusal::unknown(format!("the header {SIGNATURE_HEADER} is missing")))?;
    let row = app.store.device(id).await?;
    let row = row.ok_or_else(|| Refusal::unknown("this site does not know the device; enrol it again"))?;
    if is_by(&row, path, body, signature) {
        Ok(row)
    } else {
        Err(Refusal::unknown("the signature is not the device's, or not for this message"))
    }
}

/// Whether a device's key signed these bytes for this purpose (RFC 8032, with the strict checks against weak keys).
pub fn is_by(row: &DeviceRow, purpose: &str, bytes: &[u8], signature: &str) -> bool {
    let key = <[u8; 32]>::try_from(row.public_key.as_slice()).ok().and_then(|key| VerifyingKey::from_bytes(&key).ok());
    let signature = BASE64_STANDARD.decode(signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    match (key, signature) {
        (Some(key), Some(signature)) => key.verify_strict(&signed_bytes(purpose, bytes), &signature).is_ok(),
        _ => false,
    }
}
