//! A large repository, spread over bins.

use std::{collections::BTreeSet, fs};

use crate::{
    bench::{Bench, versions},
    python,
};

const PUBLISH: &str = "publish --repo repo --offline offline --online online";

fn bin_files(bench: &Bench) -> BTreeSet<String> {
    let names =
        fs::read_dir(bench.repo().join("metadata")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".bins-")).collect()
}

#[test]
fn a_new_release_changes_one_bin_and_every_client_finds_everything() {
    let bench = Bench::published();
    let client = bench.client("client");
    bench.read(&client).unwrap();
    bench.line("key new offline/bins.pem --unencrypted");
    let said = bench.line("delegation bins 32 --key offline/bins.pub --repo repo");
    assert!(said.contains("releases are spread over 32 bins, instead of 0"), "{said}");
    bench.line(PUBLISH);
    let first = bin_files(&bench);
    assert_eq!(first.len(), 32);
    assert!(first.contains("1.bins-00-07.json") && first.contains("1.bins-f8-ff.json"), "{first:?}");
    assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0"]);

    bench.add("7.3.0", &[]);
    bench.line(PUBLISH);
    let changed: Vec<_> = bin_files(&bench).difference(&first).cloned().collect();
    assert!(changed.len() == 1 && changed[0].starts_with("2.bins-"), "{changed:?}");
    for client in [&client, &bench.client("fresh")] {
        assert_eq!(versions(&bench.read(client).unwrap()), ["7.2.0", "7.3.0"]);
    }
    let both = ["connector/connector-7.2.0-linux-x86_64.lpk", "connector/connector-7.3.0-linux-x86_64.lpk"];
    python::follow(&bench, &both);
    let check = bench.ok(&["repo", "check", "repo"]);
    assert!(check.contains("32 bins") && check.contains("2 targets"), "{check}");

    // The key of all bins is replaced at once; a product leaves them; then there are none any more.
    bench.line("key replace bins --repo repo --offline offline --online online");
    bench.line("delegation add connector --product connector --key offline/targets.pub --repo repo");
    bench.ok(&[&PUBLISH.split(' ').collect::<Vec<_>>()[..], &["--key", "offline/targets.pem"]].concat());
    assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0", "7.3.0"]);
    bench.line("delegation bins 0 --none --repo repo");
    bench.ok(&[&PUBLISH.split(' ').collect::<Vec<_>>()[..], &["--key", "offline/targets.pem"]].concat());
    for client in [&client, &bench.client("another")] {
        assert_eq!(versions(&bench.read(client).unwrap()), ["7.2.0", "7.3.0"]);
    }
    python::follow(&bench, &both);
}
