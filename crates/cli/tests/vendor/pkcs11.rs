//! Keys in a token, through PKCS#11: SoftHSM stands for the card or the HSM.
#![cfg(unix)]

use std::{fs, process::Command};

use crate::{
    bench::{Bench, PASSPHRASE, versions},
    python,
};

const PUBLISH: &str = "publish --repo repo --offline offline --online online";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "73217";

/// Makes a token in the bench's own directory.
fn token(bench: &Bench) {
    fs::create_dir(bench.path("tokens")).unwrap();
    let settings = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        bench.path("tokens").display()
    );
    fs::write(bench.path("softhsm2.conf"), settings).unwrap();
    fs::write(bench.path("pin"), format!("{PIN}\n")).unwrap();
    let output = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "The vendor", "--so-pin", "5432109", "--pin", PIN])
        .env("SOFTHSM2_CONF", bench.path("softhsm2.conf"))
        .output()
        .expect("this test needs softhsm2 (Debian package softhsm2)");
    assert!(output.status.success(), "{output:?}");
}

fn uri(object: &str) -> String {
    format!("pkcs11:token=The%20vendor;object={object}?module-path={MODULE}&pin-source=file:pin")
}

#[test]
fn keys_in_a_token_take_over_from_files_and_sign_everything() {
    let bench = Bench::published();
    token(&bench);
    let client = bench.client("client");
    bench.read(&client).unwrap();
    for key in ["targets", "root1", "timestamp"] {
        let made = bench.ok(&["key", "new", &uri(key), "--json"]);
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        let shown: serde_json::Value = serde_json::from_str(&bench.ok(&["key", "show", &uri(key), "--json"])).unwrap();
        assert_eq!((&made["id"], &made["public"]), (&shown["id"], &shown["public"]));
        bench.ok(&[
            "key",
            "replace",
            key,
            "--with",
            &uri(key),
            "--repo",
            "repo",
            "--offline",
            "offline",
            "--online",
            "online",
        ]);
    }
    assert!(bench.path("offline/targets.pkcs11").exists() && !bench.path("offline/targets.pem").exists());
    let why = bench.fails(&["key", "new", &uri("targets")]);
    assert!(why.contains("exists already; keys are never overwritten"), "{why}");
    bench.add("7.3.0", &[]);
    bench.line(PUBLISH);
    bench.line("renew --repo repo --online online");
    for client in [&client, &bench.client("fresh")] {
        assert_eq!(versions(&bench.read(client).unwrap()), ["7.2.0", "7.3.0"]);
    }
    assert_eq!(python::follow(&bench, &["connector/connector-7.3.0-linux-x86_64.lpk"]), (6, 4));

    // In a ceremony too, by name.
    bench.add("7.3.1", &[]);
    bench.line("prepare --repo repo --keys online");
    bench.ok(&["sign", "--repo", "repo", "--yes", "--key", &uri("targets")]);
    bench.line("publish --repo repo --online online");
    assert_eq!(versions(&bench.read(&client).unwrap()).len(), 3);
}

#[test]
fn a_token_that_cannot_be_used_says_why() {
    let bench = Bench::published();
    token(&bench);
    bench.ok(&["key", "new", &uri("targets")]);
    let show = |uri: &str| bench.fails(&["key", "show", uri]);
    let good = uri("targets");
    fs::write(bench.path("wrong"), "00000\n").unwrap();
    for (uri, why) in [
        (good.replace("file:pin", "file:wrong"), "the PIN does not open the token \"The vendor\""),
        (good.replace("file:pin", "file:nowhere"), "cannot read the PIN from nowhere"),
        (good.replace("The%20vendor", "Another"), "tokens that are there: The vendor"),
        (good.replace("object=targets", "object=root"), "there is not exactly one such private key"),
        (good.replace(MODULE, "/nowhere.so"), "cannot use the PKCS #11 module /nowhere.so"),
        (good.replace(&format!("module-path={MODULE}&"), ""), "which PKCS #11 module reaches the token?"),
        (good.replace("&pin-source=file:pin", ""), "needs a PIN"),
        (good.replace("pin-source=file:pin", "pin-value=73217"), "a PIN does not belong into a URI"),
        ("pkcs11:token=x".into(), "it names no key"),
    ] {
        let said = show(&uri);
        assert!(said.contains(why), "{uri}: {said}");
        assert!(!said.contains(PIN), "{said}");
    }
    // A key that devices could not verify.
    let rsa = Command::new("openssl")
        .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"])
        .arg(bench.path("ec.pem"))
        .output()
        .unwrap();
    assert!(rsa.status.success(), "{rsa:?}");
    let import = Command::new("softhsm2-util")
        .args(["--import", "ec.pem", "--token", "The vendor", "--label", "ec", "--id", "ec", "--pin", PIN])
        .current_dir(bench.path(""))
        .env("SOFTHSM2_CONF", bench.path("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(import.status.success(), "{import:?}");
    assert!(show(&uri("ec")).contains("is not an Ed25519 key; this tool signs with no other"));
    assert!(!PASSPHRASE.is_empty());
}
