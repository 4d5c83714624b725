//! A reply as it goes over the wire, never longer than a reader takes ([`MAX_REPLY`]). Pure.
//!
//! What makes a reply long are texts and what is remembered, and whose they are nobody can promise: the server's words, those of
//! a product's self-check, a history of before. Facts (versions, states, the ticket) go last.

use protocol::{
    ipc::{MAX_REPLY, Reply, frame},
    message::MAX_TEXT,
};
use serde_json::Value;

use crate::texts::cut_members;

/// Members that are texts for people, or hold nothing else: `why` holds one for each product.
const TEXTS: [&str; 7] = ["why", "how", "what", "detail", "reason", "problem", "error"];
/// Happenings that are told of a long history.
const FEW: usize = 8;
/// Characters that texts are cut to, one length after the other.
const CUTS: [usize; 5] = [4 * MAX_TEXT, MAX_TEXT, 64, 16, 0];

/// The frame, shortened until it fits.
pub fn fitted(reply: &Reply) -> Vec<u8> {
    let whole = frame(reply);
    if whole.len() <= MAX_REPLY {
        return whole;
    }
    tracing::debug!(bytes = whole.len(), "a reply is too long, and is shortened");
    let mut value = serde_json::to_value(reply).unwrap_or_default();
    let cuts = CUTS.map(|most| move |value: &mut Value| cut_members(value, &TEXTS, most));
    let first: [&dyn Fn(&mut Value); 2] = [&shorten_history, &drop_history];
    let last: [&dyn Fn(&mut Value); 2] = [&drop_failures, &drop_products];
    let steps = first.into_iter().chain(cuts.iter().map(|cut| cut as &dyn Fn(&mut Value))).chain(last);
    for step in steps {
        step(&mut value);
        let bytes = frame(&value);
        if bytes.len() <= MAX_REPLY {
            return bytes;
        }
    }
    frame(&Reply::Refused { error: "there is too much to tell".into() })
}

fn shorten_history(status: &mut Value) {
    if let Some(history) = status.get_mut("history").and_then(Value::as_array_mut) {
        history.drain(..history.len().saturating_sub(FEW));
    }
}

fn drop_history(status: &mut Value) {
    if let Some(members) = status.as_object_mut() {
        members.remove("history");
    }
}

fn drop_failures(status: &mut Value) {
    let products = status.get_mut("products").and_then(Value::as_object_mut);
    for product in products.into_iter().flat_map(|products| products.values_mut()) {
        if let Some(members) = product.as_object_mut() {
            members.remove("failed");
            members.remove("staged");
        }
    }
}

/// So many products are no PC's; that it runs and whose it is can still be told.
fn drop_products(status: &mut Value) {
    for name in ["products", "why", "decisions", "fetching"] {
        if let Some(Value::Object(members)) = status.get_mut(name) {
            members.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::{
        Timestamp, Version,
        device::{FailedVersion, ProductState},
        explain::Explained,
        ipc::{FrameReader, Happening, PcStatus, Status, What},
        product::ProductId,
        terms::Whose,
    };

    use super::*;

    fn status(products: usize, happenings: usize, text: &str) -> Status {
        let product = |n: usize| -> ProductId { format!("p{n}").parse().unwrap() };
        let (version, at) = (Version::new(7, 3, 0), Timestamp::UNIX_EPOCH);
        let state = ProductState {
            installed: Some(version.clone()),
            failed: vec![FailedVersion::new(version.clone(), at, text.into()); 8],
            detail: Some(text.into()),
            ..ProductState::default()
        };
        let explained =
            Explained { what: text.into(), why: text.into(), how: text.into(), until: None, by: Whose::Site };
        let happening = Happening {
            at,
            product: product(0),
            what: What::Switched,
            version: Some(version.clone()),
            before: None,
            why: text.into(),
        };
        let all = || (0..products).map(product);
        Status {
            updater: version,
            device: Some("d-1".into()),
            server: "https://mail.example.test".into(),
            products: all().map(|p| (p, state.clone())).collect(),
            why: all().map(|p| (p, text.into())).collect(),
            ticket: None,
            fetching: BTreeMap::new(),
            problem: Some(text.into()),
            last_contact: Some(at),
            decisions: all().map(|p| (p, explained.clone())).collect(),
            pc: PcStatus::default(),
            history: vec![happening; happenings],
        }
    }

    fn read(bytes: &[u8]) -> Status {
        assert!(bytes.len() <= MAX_REPLY, "{}", bytes.len());
        let mut frames = FrameReader::new(MAX_REPLY);
        frames.push(bytes);
        match frames.next_frame().unwrap().unwrap() {
            Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_fits_is_told_whole() {
        let status = status(3, 20, "because");
        assert_eq!(read(&fitted(&Reply::Status(Box::new(status.clone())))), status);
    }

    #[test]
    fn the_oldest_history_goes_first_then_texts_and_facts_stay() {
        let long = status(2, 100, &"ä".repeat(400));
        let told = read(&fitted(&Reply::Status(Box::new(long.clone()))));
        assert_eq!((told.history.len(), &told.why), (FEW, &long.why));
        for (products, length) in [(1, 50_000), (64, 300), (64, 1000)] {
            let long = status(products, 100, &"\u{1}ä\"".repeat(length));
            let told = read(&fitted(&Reply::Status(Box::new(long.clone()))));
            assert_eq!(told.products.len(), products);
            assert_eq!(told.products.values().next().unwrap().installed, Some(Version::new(7, 3, 0)));
            assert_eq!((told.device, told.last_contact), (long.device, long.last_contact));
            assert!(told.why.values().all(|why| why.ends_with('…')));
        }
    }

    #[test]
    fn every_other_reply_fits_too() {
        let text = "\u{1}x".repeat(100_000);
        let progress = Reply::Progress {
            product: ProductId::connector(),
            installed: None,
            state: Default::default(),
            detail: text.clone(),
            bytes: None,
        };
        for reply in [progress, Reply::Ok { detail: text.clone() }, Reply::Refused { error: text }] {
            let bytes = fitted(&reply);
            assert!(bytes.len() <= MAX_REPLY);
            let read: Reply = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(std::mem::discriminant(&read), std::mem::discriminant(&reply));
        }
        // More than any PC has: an answer all the same.
        assert_eq!(read(&fitted(&Reply::Status(Box::new(status(5000, 0, ""))))).device, Some("d-1".into()));
    }
}
