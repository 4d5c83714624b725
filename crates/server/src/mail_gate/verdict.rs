//! Whether a client of ours may log in to the mail server: decided by the very function that tells connectors whether
//! they may go online.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use protocol::{
    Version,
    catalog::Catalog,
    device::{Device, ProductState},
    directive,
    product::Platform,
    site::Site,
};

use super::client_id::Client;

/// Whether it cannot work with its server's present version, which is given then. An ID does not tell the platform, so a client
/// is refused only when it would be on every platform that there are releases for.
///
/// `None` as well: the product is not managed or held, its server's version is not known, or nothing has been mirrored.
pub fn outdated<'a>(
    client: &Client,
    site: &'a Site,
    catalog: &Catalog,
    now: Timestamp,
    seed: u64,
) -> Option<&'a Version> {
    let server = site.products.get(&client.product)?.server.as_ref()?;
    let releases = catalog.entries.iter().map(|e| &e.release).filter(|r| r.product == client.product);
    let kinds: BTreeSet<(&Platform, &str)> = releases.map(|r| (&r.platform, r.channel.as_str())).collect();
    let refused = |&(platform, channel): &(&Platform, &str)| {
        let device = bare(client, platform, channel);
        directive(&client.product, site, catalog, &device, now, seed).decision.is_incompatible()
    };
    (!kinds.is_empty() && kinds.iter().all(refused)).then_some(server)
}

/// A PC of which nothing is known but what it runs.
fn bare(client: &Client, platform: &Platform, channel: &str) -> Device {
    let state = ProductState { installed: Some(client.version.clone()), ..ProductState::default() };
    let products = BTreeMap::from([(client.product.clone(), state)]);
    Device { products, ..Device::unknown(platform.clone(), channel) }
}

#[cfg(test)]
mod tests {
    use protocol::{
        catalog::{Entry, Release},
        product::ProductId,
        site::SiteProduct,
    };

    use super::*;

    fn entry(version: &str, server: &str, os: &str) -> Entry {
        Entry {
            target: format!("{version}-{os}"),
            length: 1,
            sha256: String::new(),
            release: Release {
                product: ProductId::connector(),
                version: version.parse().unwrap(),
                channel: "stable".into(),
                platform: Platform { os: os.into(), arch: "x86_64".into() },
                server: server.parse().unwrap(),
                store: None,
                upgrades_from: None,
                updater: None,
                floor: None,
                downgrade_from: None,
                withdraws: vec![],
            },
        }
    }

    fn asked(client: &str, server: Option<&str>, hold: bool, catalog: &Catalog) -> bool {
        let server = server.map(|v| v.parse().unwrap());
        let product = SiteProduct { server, hold, ..SiteProduct::default() };
        let site = Site { products: BTreeMap::from([(ProductId::connector(), product)]) };
        let client = Client { product: ProductId::connector(), version: client.parse().unwrap() };
        outdated(&client, &site, catalog, Timestamp::UNIX_EPOCH, 1).is_some()
    }

    #[test]
    fn only_what_cannot_work_with_the_server_is_refused() {
        let catalog = Catalog {
            entries: vec![
                entry("7.2.0", ">=7.2, <7.3", "linux"),
                entry("7.2.9", ">=7.2, <7.4", "windows"),
                entry("7.2.9", ">=7.2, <7.3", "linux"),
                entry("7.3.0", ">=7.3, <7.4", "linux"),
                entry("7.3.0", ">=7.3, <7.4", "windows"),
            ],
        };
        for (client, server, refused) in [
            ("7.2.0", "7.2.0", false),
            ("7.2.0", "7.3.0", true),
            ("7.3.0", "7.3.4", false),
            ("7.3.0", "7.2.0", true),
            // Works on one of the two systems, and an ID does not say on which it runs.
            ("7.2.9", "7.3.0", false),
            // The vendor does not know it (any more): the same major.minor works.
            ("7.3.7", "7.3.0", false),
            ("7.1.0", "7.3.0", true),
            ("8.0.0", "7.3.0", true),
        ] {
            assert_eq!(asked(client, Some(server), false, &catalog), refused, "{client} with {server}");
        }
        assert!(!asked("7.1.0", None, false, &catalog), "the server's version is not known");
        assert!(!asked("7.1.0", Some("7.3.0"), true, &catalog), "upgrades are held, so connectors stay online");
        assert!(!asked("7.1.0", Some("7.3.0"), false, &Catalog::default()), "nothing is mirrored");
    }
}
