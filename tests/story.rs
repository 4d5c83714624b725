//! The whole system, with real parts: a vendor, a mail server, a site, its PCs and their users.
//!
//! `cargo xtask test` builds what these tests run.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, time::Duration};

use xtask::{
    browser::Browser,
    mail_client::MailClient,
    mail_rig::DOMAIN,
    process::wait_until,
    programs::{NEW, OLD, Profile, Programs},
    story::{
        Stage,
        narrator::Narrator,
        outcome::CutOff,
        pc::Pc,
        play::{UPDATER, World, play},
        site::VersionSource,
    },
};

const SOON: Duration = Duration::from_secs(20);

fn programs() -> Programs {
    Programs::built(Profile::Dev).unwrap()
}

#[test]
fn a_site_moves_to_the_new_version_and_only_who_was_foretold_is_cut_off() {
    let stage = Stage::new().unwrap();
    let (world, outcome) = play(&stage, &programs(), Narrator::Silent).unwrap_or_else(|e| panic!("{e:?}"));

    for (pc, before) in [
        ("pc-ready", "7.2.0 online"),
        ("pc-refuses", "7.2.0 online"),
        ("pc-accepts", "7.2.0 online"),
        ("pc-away", "7.1.0, off"),
        ("pc-reinstalls", "7.2.0 online"),
        ("pc-admin", "7.2.0 online"),
    ] {
        let row = outcome.row(pc).unwrap();
        assert_eq!(row.before, before, "{pc}");
        assert_eq!(row.after, "7.3.0 online", "{pc}");
        assert_eq!(row.lost, 0, "{pc}");
        assert!(row.received > 0, "{pc}");
    }
    assert!(matches!(outcome.row("pc-ready").unwrap().cut_off, CutOff::Seconds(_)));
    assert!(outcome.kills > 3, "the updater was killed {} times only", outcome.kills);

    // What root installed, nobody else can change.
    for pc in world.pcs() {
        let opt = pc.root().join("opt/lockstep");
        for path in
            [opt.clone(), opt.join("connector"), opt.join("connector/versions"), opt.join("connector/versions/7.3.0")]
        {
            let meta = fs::symlink_metadata(&path).unwrap();
            assert_eq!(meta.uid(), 0, "{}", path.display());
            assert_eq!(meta.mode() & 0o022, 0, "{}", path.display());
        }
        let secrets = fs::symlink_metadata(pc.root().join("var/lib/lockstep/updater")).unwrap();
        assert_eq!(secrets.mode() & 0o077, 0, "the updater's state is root's alone");
    }
    // A connector's mail and secrets are its user's alone.
    let data = fs::symlink_metadata(world.ready.data()).unwrap();
    assert_eq!((data.uid(), data.mode() & 0o077), (60001, 0));
    // No password lies in a log.
    for log in [stage.path("site/server.log"), world.ready.root().join("updater.log")] {
        let text = fs::read_to_string(&log).unwrap();
        assert!(!text.contains("alice-secret"), "{}", log.display());
    }
}

#[test]
fn a_server_upgraded_without_a_cut_over_takes_its_clients_with_it() {
    let stage = Stage::new().unwrap();
    let mut world = World::at_the_old_version(&stage, &programs(), VersionSource::Probe, Narrator::Silent).unwrap();
    // Nothing is published, staged or announced before; the server is simply another version one day.
    world.vendor.add_connector(NEW, ">=7.3, <7.4").unwrap();
    world.vendor.publish().unwrap();
    world.site.mail.become_version(NEW).unwrap();
    world.site.wait_for_server_version(NEW).unwrap();
    world
        .ready
        .wait_for_gate("offline", OLD, SOON)
        .or_else(|_| world.ready.wait_for_gate("online", NEW, SOON))
        .unwrap();
    world.site.must_lockstep(&["refresh"]).unwrap();
    world.ready.wait_for_gate("online", NEW, Duration::from_secs(40)).unwrap();
    world.refuses.wait_for_gate("offline", OLD, SOON).unwrap();
    assert!(MailClient::direct(&world.site.mail, &world.refuses.user).can_log_in(), "other mail programs go on");
}

#[test]
fn two_pcs_of_a_user_and_two_users_of_a_pc_are_kept_apart() {
    let stage = Stage::new().unwrap();
    let world = World::at_the_old_version(&stage, &programs(), VersionSource::Probe, Narrator::Silent).unwrap();
    let alice = world.ready.user.clone();

    // Alice on a second PC without an updater; bob on alice's PC, which has one.
    let mut second_pc = Pc::new(&stage.path("pcs"), "pc-second", 60015, &alice).unwrap();
    second_pc.install_connector_without_updater(&world.site, OLD).unwrap();
    let mut bob_there = world.ready.second_user(60016, &world.refuses.user).unwrap();
    bob_there.use_installed_connector();
    for pc in [&mut second_pc, &mut bob_there] {
        pc.set_up(world.site.mail.password(&pc.user)).unwrap();
        pc.sign_in().unwrap();
        pc.wait_for_gate("online", OLD, SOON).unwrap();
    }
    world.new_release(Narrator::Silent).unwrap();
    world.staged(Narrator::Silent).unwrap();

    let verdicts = || -> BTreeSet<(String, String, String)> {
        let (table, _) = world.site.preflight(NEW).unwrap();
        let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = table["rows"].as_array().unwrap();
        rows.iter().map(|r| (text(r, "user"), text(r, "pc"), text(r, "readiness"))).collect()
    };
    let name = |user: &str| format!("{user}@{DOMAIN}");
    for expected in [
        (name("alice"), "pc-ready".to_owned(), "ready".to_owned()),
        (name("alice"), "pc-second".to_owned(), "cut-off".to_owned()),
        (name("bob"), "pc-ready".to_owned(), "ready".to_owned()),
        (name("bob"), "pc-refuses".to_owned(), "cut-off".to_owned()),
    ] {
        let there = verdicts();
        assert!(there.contains(&expected), "{expected:?} is not among {there:?}");
    }
}

#[test]
fn with_readiness_switched_off_no_name_is_kept_and_nothing_is_foretold() {
    let stage = Stage::new().unwrap();
    let world = World::at_the_old_version(&stage, &programs(), VersionSource::Probe, Narrator::Silent).unwrap();
    world.new_release(Narrator::Silent).unwrap();
    world.site.must_lockstep(&["settings", "readiness", "off"]).unwrap();

    let (table, code) = world.site.preflight(NEW).unwrap();
    assert_eq!(table["known"], false, "{table}");
    assert_eq!(code, Some(3), "neither \"nobody\" nor \"somebody\" would be cut off: it cannot know");
    let warned = world.site.lockstep(&["warn", "--now"]).unwrap();
    assert_eq!(warned.status.code(), Some(3), "nor whom to warn about");
    let log = fs::read_to_string(world.site.data().join("logs/warning.log")).unwrap_or_default();
    assert!(!log.contains('@'), "no report is written:\n{log}");
    // The names are gone from the database itself, and connectors go on checking in without bringing them back.
    world.refuses.wait_for_gate("online", OLD, SOON).unwrap();
    wait_until("no name is stored", SOON, || {
        let mut stored = Vec::new();
        for file in ["lockstep.sqlite", "lockstep.sqlite-wal"] {
            stored.extend(fs::read(world.site.data().join(file)).unwrap_or_default());
        }
        let name = format!("bob@{DOMAIN}");
        Ok((!stored.windows(name.len()).any(|w| w == name.as_bytes())).then_some(()))
    })
    .unwrap();
    assert!(world.site.status().unwrap()["switches"]["readiness"] == false);
}

#[test]
fn the_pages_offer_both_installers_and_keep_strangers_out() {
    let stage = Stage::new().unwrap();
    let world = World::at_the_old_version(&stage, &programs(), VersionSource::Pushed, Narrator::Silent).unwrap();
    world.new_release(Narrator::Silent).unwrap();
    let page = stage.path("page.html");
    world.site.get("/integration", &page).unwrap();
    let html = fs::read_to_string(&page).unwrap();
    for file in [format!("lockstep-updater-{UPDATER}-linux"), format!("lockstep-connector-{OLD}-linux")] {
        assert!(html.contains(&file), "{file} is offered");
    }
    assert!(world.site.get("/v1/admin/status", &page).is_err(), "the interface for scripts wants a token");

    let browser = Browser::start().unwrap();
    browser.open(&format!("{}/integration", world.site.url())).unwrap();
    assert!(browser.text().unwrap().contains("this computer"), "the visitor's system is recognised");
    browser.open(&format!("{}/console", world.site.url())).unwrap();
    assert!(!browser.text().unwrap().contains(DOMAIN), "the console shows no name without a login");
    browser.type_into("input[name=name]", "admin").unwrap();
    browser.type_into("input[name=password]", "wrong").unwrap();
    browser.click("button[type=submit]").unwrap();
    assert!(!browser.text().unwrap().contains(DOMAIN), "nor with a wrong password");
    let browser = world.site.console().unwrap();
    let text = browser.text().unwrap();
    browser.picture(&programs().path("console.png")).unwrap();
    for user in ["alice", "bob", "carol", "dave"] {
        assert!(text.contains(&format!("{user}@{DOMAIN}")), "{user} is not in the table:\n{text}");
    }
    assert!(text.to_lowercase().contains("cut off"), "{text}");
}

#[test]
fn a_version_that_cannot_run_here_is_rolled_back_remembered_and_reported() {
    let stage = Stage::new().unwrap();
    let mut world = World::at_the_old_version(&stage, &programs(), VersionSource::Pushed, Narrator::Silent).unwrap();
    world
        .vendor
        .add_connector_script(NEW, ">=7.3, <7.4", "#!/bin/sh\necho 'a library is missing' >&2\nexit 1\n")
        .unwrap();
    world.vendor.publish().unwrap();
    world.site.must_lockstep(&["refresh"]).unwrap();
    world.staged(Narrator::Silent).unwrap();
    world.site.mail.become_version(NEW).unwrap();
    world.site.must_lockstep(&["server-version", "set", NEW]).unwrap();

    let product = || world.ready.updater_status().map(|status| status["products"]["connector"].clone());
    let rolled_back = wait_until("it is rolled back", SOON, || {
        let state = product()?;
        Ok((state["failed"][0]["version"] == NEW).then_some(state))
    })
    .unwrap();
    assert_eq!(rolled_back["installed"], OLD, "{rolled_back}");
    assert_eq!(world.ready.active_version().as_deref(), Some(OLD));
    world.ready.wait_for_gate("offline", OLD, SOON).unwrap();
    assert!(world.ready.mail_program().unwrap().count("INBOX", "of the story").unwrap() > 0, "local mail is readable");

    // The administrator sees it, and it is not tried again, however often the PC asks.
    wait_until("the site knows", SOON, || {
        let status = world.site.status()?;
        let devices = status["devices"].as_array().cloned().unwrap_or_default();
        Ok(devices.into_iter().find(|d| d["pc"] == "pc-ready" && d.to_string().contains("self-check")))
    })
    .unwrap();
    let before = product().unwrap()["failed"].clone();
    world.ready.check_now().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(product().unwrap()["failed"], before, "tried once, not again");
    assert_eq!(world.ready.active_version().as_deref(), Some(OLD));
}
