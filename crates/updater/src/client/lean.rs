//! A check-in in few bytes: thousands of PCs send one every few minutes, and hardly anything in it changes.
//!
//! Nothing is left out that is not read back as the same: every member that can be `null` or empty has that as its default
//! (`protocol`'s golden files keep it so). Only where a report is longer than [`AIM`] are texts for people cut, and, where that is
//! not enough, the oldest roll-backs of the product that has most left out: this PC remembers them, and refuses those versions whatever it is told.

use serde::Serialize;
use serde_json::Value;

use crate::texts::cut_members;

/// Bytes that a body should not exceed.
pub(super) const AIM: usize = 1024;

/// Characters that texts for people are cut to, one length after the other, until the body is short enough. The server
/// cuts them to the first in any case.
const CUTS: [usize; 5] = [protocol::message::MAX_TEXT, 120, 48, 16, 0];
/// Their members.
const TEXTS: [&str; 2] = ["detail", "reason"];

/// The body's bytes.
pub(super) fn to_vec(body: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut body = serde_json::to_value(body)?;
    drop_defaults(&mut body);
    let mut bytes = serde_json::to_vec(&body)?;
    for length in CUTS {
        if bytes.len() <= AIM {
            break;
        }
        cut_members(&mut body, &TEXTS, length);
        bytes = serde_json::to_vec(&body)?;
    }
    while bytes.len() > AIM && forget_oldest_failure(&mut body) {
        bytes = serde_json::to_vec(&body)?;
    }
    Ok(bytes)
}

/// Leaves out one roll-back. `false`: no product has more than one.
fn forget_oldest_failure(body: &mut Value) -> bool {
    let products = body.pointer_mut("/device/products").and_then(Value::as_object_mut);
    let failures =
        products.into_iter().flat_map(|p| p.values_mut()).filter_map(|p| p.get_mut("failed")?.as_array_mut());
    match failures.max_by_key(|failed| failed.len()) {
        Some(failed) if failed.len() > 1 => {
            failed.remove(0);
            true
        }
        _ => false,
    }
}

fn drop_defaults(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(drop_defaults);
            members.retain(|_, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(drop_defaults),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use protocol::{
        Timestamp, Version,
        device::{Device, DeviceState, FailedVersion, ProductState},
        message::{DeviceCheckIn, V},
        policy::UpgradePolicy,
        product::{Platform, ProductId},
    };

    use super::*;
    use crate::record::MAX_FAILED;

    fn check_in(failed: u64, text: &str) -> DeviceCheckIn {
        let failed =
            (0..failed).map(|patch| FailedVersion::new(Version::new(7, 3, patch), Timestamp::UNIX_EPOCH, text.into()));
        let connector = ProductState {
            installed: Some(Version::new(7, 2, 0)),
            staged: vec![Version::new(7, 3, 9)],
            failed: failed.collect(),
            state: DeviceState::Failed,
            detail: Some(text.into()),
            ..ProductState::default()
        };
        let updater = ProductState { installed: Some(Version::new(0, 1, 0)), ..ProductState::default() };
        let device = Device {
            id: "0123456789abcdef0123456789abcdef".into(),
            hostname: "a-computer-with-a-name-of-63-letters-is-the-longest-in-the-dns1".into(),
            platform: Platform::current(),
            channel: "stable".into(),
            updater: Some(Version::new(0, 1, 0)),
            policy: Some(UpgradePolicy::Ask),
            machine: Default::default(),
            disk_free: Some(u64::MAX),
            metadata_expires: Some(Timestamp::UNIX_EPOCH),
            products: [(ProductId::connector(), connector), (ProductId::updater(), updater)].into(),
        };
        DeviceCheckIn { v: V, seq: u64::MAX, device }
    }

    #[test]
    fn what_is_left_out_is_read_back_as_it_was() {
        let message = check_in(1, "exit status 7");
        let bytes = to_vec(&message).unwrap();
        assert_eq!(serde_json::from_slice::<DeviceCheckIn>(&bytes).unwrap(), message);
        assert!(bytes.len() < serde_json::to_vec(&message).unwrap().len());
    }

    #[test]
    fn a_check_in_is_at_most_a_kilobyte_however_long_the_words_are() {
        let most = u64::try_from(MAX_FAILED).unwrap();
        for (failed, text) in [(0, ""), (2, "it did not start"), (most, &"ä".repeat(5000)[..])] {
            let bytes = to_vec(&check_in(failed, text)).unwrap();
            assert!(bytes.len() <= AIM, "{failed}: {} bytes", bytes.len());
        }
    }

    #[test]
    fn of_many_products_that_fail_the_oldest_failures_are_left_out() {
        let mut message = check_in(8, "it did not start");
        let connector = message.device.product(&ProductId::connector());
        message.device.products.insert("mailer".parse().unwrap(), connector);
        let bytes = to_vec(&message).unwrap();
        assert!(bytes.len() <= AIM, "{} bytes", bytes.len());
        let read: DeviceCheckIn = serde_json::from_slice(&bytes).unwrap();
        for state in read.device.products.values().filter(|s| s.state == DeviceState::Failed) {
            assert!(state.failed.len() > 2, "{:?}", state.failed);
            assert_eq!(state.failed.last().unwrap().version, Version::new(7, 3, 7), "the newest stays");
        }
    }

    #[test]
    fn other_facts_are_never_cut() {
        let most = u64::try_from(MAX_FAILED).unwrap();
        let read: DeviceCheckIn = serde_json::from_slice(&to_vec(&check_in(most, &"x".repeat(5000))).unwrap()).unwrap();
        assert_eq!(read.device.product(&ProductId::connector()).failed.len(), MAX_FAILED);
        let mut device = read.device;
        let mut original = check_in(most, "").device;
        for state in device.products.values_mut().chain(original.products.values_mut()) {
            state.detail = None;
            state.failed.iter_mut().for_each(|failed| failed.reason.clear());
        }
        assert_eq!(device, original);
    }
}
