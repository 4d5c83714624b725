//! A product that is a service of the machine, with a unit of its own: nothing is special to the connector.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use sample_service::{Behaviour, package};
use serde_json::Value;
use xtask::{nspawn::Machine, process::wait_until, story::play::UPDATER};

use crate::scene::{SOON, Scene, UNIT, active, as_alice, programs, updater_deb, wait_for_active, wait_for_service};

const ADDRESS: u16 = 7480;

#[test]
fn a_service_of_the_machine_is_brought_updated_and_rolled_back_when_it_crashes() {
    let mut scene = Scene::new().unwrap();
    manage(&mut scene).unwrap();
    for (version, behaviour) in [
        ("1.0.0", Behaviour::Works),
        ("2.0.0", Behaviour::Works),
        ("3.0.0", Behaviour::CrashesAfter(Duration::from_millis(300))),
    ] {
        add(&scene, version, behaviour).unwrap();
    }
    scene.vendor.publish().unwrap();
    scene.site.must_lockstep(&["refresh"]).unwrap();
    server_is(&scene, "1.0.0");

    // The administrator installs the updater, and the product's unit, which has nothing to run yet.
    let mut pc = scene.pc("pc-service").unwrap();
    pc.boot().unwrap();
    pc.write(&format!("/etc/systemd/system/{}", package::UNIT_NAME), package::UNIT).unwrap();
    pc.must(&["systemctl", "enable", package::UNIT_NAME]).unwrap();
    scene.configure(&pc).unwrap();
    let deb = updater_deb(&pc, UPDATER).unwrap();
    pc.must(&["dpkg", "--install", &deb]).unwrap();
    wait_for_service(&pc, "active").unwrap();
    serves(&pc, "1.0.0").unwrap();

    server_is(&scene, "2.0.0");
    serves(&pc, "2.0.0").unwrap();
    wait_for_active(&pc, package::PRODUCT, "2.0.0").unwrap();

    // The third one starts, says that it is ready, and crashes, again and again.
    server_is(&scene, "3.0.0");
    let failed = wait_until("it is rolled back", SOON, || {
        let status: Value = serde_json::from_str(&as_alice(&pc, &["status", "--json"])?)?;
        let failed = status["products"][package::PRODUCT]["failed"][0].clone();
        Ok((failed["version"] == "3.0.0").then_some(failed))
    });
    let failed = failed.unwrap_or_else(|e| panic!("{e:#}\n{}", pc.log(UNIT)));
    assert!(failed["reason"].as_str().unwrap().contains(package::UNIT_NAME), "{failed}");
    serves(&pc, "2.0.0").unwrap();
    assert_eq!(active(&pc, package::PRODUCT).as_deref(), Some("2.0.0"));
    wait_until("the site knows why", SOON, || {
        Ok(scene.seen("pc-service")?.filter(|seen| seen.to_string().contains(package::UNIT_NAME)))
    })
    .unwrap();

    // It is what a boot starts, too.
    pc.reboot().unwrap();
    serves(&pc, "2.0.0").unwrap();
    pc.shut_down().unwrap();
}

/// The site manages the sample besides the connector.
fn manage(scene: &mut Scene) -> Result<()> {
    let settings = scene.site.data().join("server.toml");
    let text = fs::read_to_string(&settings)?;
    let product = format!("[products.{}]\nserver_name = \"the sample\"\npolicy = \"silent\"\n\n", package::PRODUCT);
    let at = text.find("[products.").context("no product")?;
    fs::write(&settings, format!("{}{product}{}", &text[..at], &text[at..]))?;
    scene.site.power_off();
    scene.site.power_on()
}

fn add(scene: &Scene, version: &str, behaviour: Behaviour) -> Result<()> {
    let tree = scene.stage.path(&format!("sample-{version}"));
    let program = programs()?.path("lockstep-sample-service");
    package::write_tree(&tree, Path::new(&program), version, behaviour)?;
    let pack = ["--program", package::PROGRAM, "--self-check", "self-check", "--systemd-unit", package::UNIT_NAME];
    let rule = ["--ready-seconds", "30", "--crashes", "2", "--within-seconds", "5"];
    let server = format!("={version}");
    scene.vendor.add_folder(
        package::PRODUCT,
        version,
        &tree,
        &[pack.as_slice(), &rule].concat(),
        &["--server", &server],
    )
}

fn server_is(scene: &Scene, version: &str) {
    scene.site.must_lockstep(&["server-version", "set", version, "--product", package::PRODUCT]).unwrap();
}

/// Waits until the service answers with this version.
fn serves(pc: &Machine, version: &str) -> Result<()> {
    let ask = format!("exec 3<>/dev/tcp/127.0.0.1/{ADDRESS}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
    wait_until(&format!("the sample {version} serves"), SOON, || {
        Ok(pc.must(&["timeout", "5", "bash", "-c", &ask])?.contains(version).then_some(()))
    })
    .with_context(|| format!("{}\n{}", pc.log(package::UNIT_NAME), pc.log(UNIT)))
}
