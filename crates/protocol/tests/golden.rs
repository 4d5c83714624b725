//! Every message as this release writes it, kept for good: a later release must still read these files, and an
//! unknown decision or field in a newer peer's message must do no harm (DESIGN, invariant 11).
//!
//! `LOCKSTEP_BLESS=1 cargo test` writes files that are missing; one that exists is never rewritten.

#[allow(dead_code, reason = "each test file uses a part of the fixture")]
mod fixture;

use std::{fmt::Debug, path::Path};

use fixture::*;
use protocol::{
    Blocked, Decision, Directive,
    catalog::{Release, StoreSchemas},
    device::DeviceState,
    explain::Explained,
    ipc::{Fetched, Happening, PcStatus, Reply, Request, Status, Verb, What},
    message::*,
    policy::{DowngradePolicy, UpgradePolicy},
    product::ProductId,
    site::SiteProfile,
    terms::{Again, MachinePolicy, Terms, Whose},
    window::Windows,
};
use serde::{Serialize, de::DeserializeOwned};

fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, message: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    if !path.exists() && std::env::var_os("LOCKSTEP_BLESS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(message).unwrap() + "\n").unwrap();
    }
    let kept = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; LOCKSTEP_BLESS=1 writes a new message's file", path.display()));
    assert_eq!(serde_json::from_str::<T>(&kept).unwrap(), *message, "{name} is not read as it was");
    let written = serde_json::to_value(message).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(&kept).unwrap(), "{name} is not written as it was");
    let mut later: serde_json::Value = serde_json::from_str(&kept).unwrap();
    later["added_in_a_later_release"] = true.into();
    if !name.starts_with("ipc_request") {
        assert_eq!(serde_json::from_value::<T>(later).unwrap(), *message, "{name} with a later field");
    }
}

fn directive(decision: Decision) -> Directive {
    Directive {
        product: ProductId::connector(),
        decision,
        policy: UpgradePolicy::Silent,
        terms: Terms::default(),
        server: Some(version("7.3.0")),
        why: "7.2.0 does not work with server 7.3.0; 7.3.0 does".into(),
    }
}

#[test]
fn every_decision() {
    golden("directive_current", &directive(Decision::Current));
    golden("directive_stage", &directive(Decision::Stage { version: version("7.3.0") }));
    golden("directive_recommended", &directive(Decision::Recommended { version: version("7.3.1") }));
    golden("directive_required", &directive(Decision::Required { version: version("7.3.0"), deadline: now() }));
    for (name, reason) in [
        ("directive_blocked_no_release", Blocked::NoRelease),
        ("directive_blocked_failed_here", Blocked::FailedHere),
        ("directive_blocked_unreachable", Blocked::Unreachable),
        ("directive_blocked_held", Blocked::Held),
    ] {
        golden(name, &directive(Decision::Blocked { reason }));
    }
    golden("directive_hold", &directive(Decision::Hold));
    let mut on_terms = directive(Decision::Recommended { version: version("7.2.4") });
    on_terms.terms = Terms {
        downgrade: DowngradePolicy::Never,
        windows: windows(),
        by: Some(now()),
        way: vec![version("7.2.5")],
        again: vec![Again { version: version("7.2.4"), failed_at: now() }],
    };
    golden("directive_on_terms", &on_terms);
}

fn windows() -> Windows {
    let weekly = vec!["Sat 02:00-05:00".parse().unwrap(), "Mon-Fri 22:00-01:30".parse().unwrap()];
    Windows { weekly, zone: Some("Europe/Prague".into()), required_too: true }
}

#[test]
fn a_decision_of_a_later_release_means_hold() {
    let later = r#"{"product":"connector","decision":"teleport","to":"mars","why":"science"}"#;
    assert_eq!(serde_json::from_str::<Directive>(later).unwrap().decision, Decision::Hold);
    let later = r#"{"product":"connector","decision":"blocked","blocked":"full-moon","why":"superstition"}"#;
    let read = serde_json::from_str::<Directive>(later).unwrap().decision;
    assert_eq!(read, Decision::Blocked { reason: Blocked::Other });
}

#[test]
fn a_state_or_policy_of_a_later_release_does_not_cost_the_rest_of_the_message() {
    let mut later = serde_json::to_value(reporting_device()).unwrap();
    later["policy"] = "on-full-moon".into();
    later["products"]["connector"]["state"] = "levitating".into();
    let read: protocol::device::Device = serde_json::from_value(later).unwrap();
    assert_eq!(read.policy, None);
    let state = read.product(&ProductId::connector());
    assert_eq!((state.state, state.installed), (DeviceState::Idle, Some(version("7.2.0"))));
    let later = r#"{"product":"connector","decision":"current","policy":"on-full-moon","why":"it is there"}"#;
    assert_eq!(serde_json::from_str::<Directive>(later).unwrap().policy, UpgradePolicy::default());
}

fn reporting_device() -> protocol::device::Device {
    let mut device = device(Some("7.2.0"));
    device.policy = Some(UpgradePolicy::Ask);
    device.disk_free = Some(1 << 33);
    device.metadata_expires = Some(time("2026-04-01T00:00:00Z"));
    let state = state(&mut device);
    state.staged.push(version("7.3.0"));
    state.floor = Some(version("7.2.0"));
    state.failed.push(failed("7.2.9"));
    state.consented = Some(version("7.3.0"));
    state.state = DeviceState::AwaitingConsent;
    state.detail = Some("7.3.0 waits for the user's consent".into());
    device
}

#[test]
fn every_http_message() {
    let mail = MailServer {
        imap: "mail.example.test:993".into(),
        submission: "mail.example.test:587".into(),
        submission_starttls: true,
        certificate: Some("-----BEGIN CERTIFICATE-----\n".into()),
        webmail: Some("https://mail.example.test/webmail".into()),
    };
    golden("failure", &Failure { error: "the enrolment key is wrong; get a new installer".into() });
    golden(
        "enrol",
        &Enrol {
            v: V,
            enrolment_key: "key".into(),
            public_key: "AAAA".into(),
            hostname: "pc-1".into(),
            platform: linux(),
        },
    );
    golden("enrolled", &Enrolled { v: V, device: "0123456789abcdef".into() });
    golden("device_check_in", &DeviceCheckIn { v: V, seq: 7, device: reporting_device() });
    let mut device = reporting_device();
    device.machine = MachinePolicy {
        downgrade: Some(DowngradePolicy::Ask),
        windows: Some(windows()),
        holds: vec!["connector 7.3.1".parse().unwrap(), "*".parse().unwrap()],
        zone: Some("Europe/Prague".into()),
    };
    let state = state(&mut device);
    state.put_off_since = Some(now());
    state.failed[0].times = 2;
    state.failed[0].again = true;
    golden("device_check_in_policies", &DeviceCheckIn { v: V, seq: 8, device });
    let directives = vec![directive(Decision::Current)];
    let answer = DeviceDirectives { v: V, directives, next_check_in_seconds: 3600, downloads: Downloads::default() };
    golden("device_directives", &answer);
    let downloads = Downloads {
        alternate: vec!["https://cdn.example.test/lockstep/targets".into()],
        start_jitter_seconds: Some(600),
    };
    golden("device_directives_elsewhere", &DeviceDirectives { downloads, ..answer });
    golden("push_hello", &PushHello { v: V, seq: 8 });
    golden("push", &Push { v: V, why: "the server's version changed".into() });
    golden(
        "login",
        &Login {
            v: V,
            user: "alice@example.test".into(),
            password: "secret".into(),
            seat: "seat-1".into(),
            hostname: "pc-1".into(),
            platform: linux(),
        },
    );
    golden("logged_in", &LoggedIn { v: V, token: "token".into(), mail: mail.clone() });
    golden(
        "connector_check_in",
        &ConnectorCheckIn {
            v: V,
            product: ProductId::connector(),
            version: version("7.2.0"),
            gate: Gate::Online,
            outbox: 2,
            hostname: "pc-1".into(),
            platform: linux(),
            ticket: Some(Ticket { claim: "{}".into(), signature: "AAAA".into() }),
            detail: None,
        },
    );
    golden(
        "connector_check_in_offline",
        &ConnectorCheckIn {
            v: V,
            product: ProductId::connector(),
            version: version("7.2.0"),
            gate: Gate::Offline,
            outbox: 1,
            hostname: "pc-1".into(),
            platform: linux(),
            ticket: None,
            detail: Some("the administrator's password was refused".into()),
        },
    );
    golden("ticket_claim", &TicketClaim { device: "0123456789abcdef".into(), uid: 1000, issued: now() });
    golden(
        "connector_directive",
        &ConnectorDirective {
            v: V,
            directive: directive(Decision::Current),
            mail: mail.clone(),
            integration_page: "https://mail.example.test:4443/integration".into(),
            next_check_in_seconds: 3600,
            ask_again_seconds: None,
        },
    );
    golden(
        "connector_directive_asking",
        &ConnectorDirective {
            v: V,
            directive: directive(Decision::Current),
            mail,
            integration_page: "https://mail.example.test:4443/integration".into(),
            next_check_in_seconds: 3600,
            ask_again_seconds: Some(86_400),
        },
    );
    golden(
        "site_profile",
        &SiteProfile {
            v: 1,
            server: "https://mail.example.test:4443".into(),
            certificate: None,
            enrolment_key: "key".into(),
            name: "Example".into(),
            policy: Some(UpgradePolicy::NecessarySilent),
        },
    );
}

#[test]
fn a_password_is_not_in_a_log_line() {
    let login = Login {
        v: V,
        user: "alice".into(),
        password: "hunter2".into(),
        seat: "s".into(),
        hostname: "pc".into(),
        platform: linux(),
    };
    assert!(!format!("{login:?}").contains("hunter2"));
}

#[test]
fn every_ipc_message() {
    for verb in Verb::ALL {
        let name = serde_json::to_value(verb).unwrap();
        golden(&format!("ipc_request_{}", name.as_str().unwrap()), &Request::new(verb));
    }
    golden("ipc_reply_ok", &Reply::Ok { detail: "checking in".into() });
    golden("ipc_reply_refused", &Reply::Refused { error: "not the active version's program".into() });
    golden(
        "ipc_reply_progress",
        &Reply::Progress {
            product: ProductId::connector(),
            installed: Some(version("7.2.0")),
            state: DeviceState::Staged,
            detail: "7.3.0 is ready".into(),
            bytes: None,
        },
    );
    golden(
        "ipc_reply_progress_fetching",
        &Reply::Progress {
            product: ProductId::connector(),
            installed: Some(version("7.2.0")),
            state: DeviceState::Staging,
            detail: "7.3.0 is made ready".into(),
            bytes: Some(Fetched { done: 1_000_000, total: 12_345_678 }),
        },
    );
    golden("ipc_reply_restart_now", &Reply::RestartNow { product: ProductId::connector(), version: version("7.3.0") });
    let status = Status {
        updater: version("0.1.0"),
        device: Some("0123456789abcdef".into()),
        server: "https://mail.example.test:4443".into(),
        products: reporting_device().products,
        why: [(ProductId::connector(), "made ready for server 7.3.0".to_owned())].into(),
        ticket: Some(Ticket { claim: "{}".into(), signature: "AAAA".into() }),
        fetching: Default::default(),
        problem: Some("cannot update: metadata expired".into()),
        last_contact: Some(now()),
        decisions: Default::default(),
        pc: Default::default(),
        history: vec![],
    };
    golden("ipc_reply_status", &Reply::Status(Box::new(status.clone())));
    let explained = Explained {
        what: "7.3.0 is required".into(),
        why: "7.2.0 does not work with server 7.3.0; 7.3.0 does".into(),
        how: "by this computer's policy ask the user is asked and may refuse".into(),
        until: Some(now()),
        by: Whose::Machine,
    };
    let happening = Happening {
        at: now(),
        product: ProductId::connector(),
        what: What::Switched,
        version: Some(version("7.2.0")),
        before: Some(version("7.1.0")),
        why: "the server's version changed".into(),
    };
    let pc = PcStatus {
        next_check_in: Some(now()),
        busy: true,
        check_ins: 3,
        metadata_expires: Some(now()),
        disk_free: Some(1 << 33),
        policy: Some(UpgradePolicy::Ask),
        machine: MachinePolicy { zone: Some("Europe/Prague".into()), ..MachinePolicy::default() },
    };
    let decisions = [(ProductId::connector(), explained)].into();
    let explained = Status { decisions, pc, history: vec![happening], ..status.clone() };
    golden("ipc_reply_status_explained", &Reply::Status(Box::new(explained)));
    let fetching = [(ProductId::connector(), Fetched { done: 1_000_000, total: 12_345_678 })].into();
    golden("ipc_reply_status_fetching", &Reply::Status(Box::new(Status { fetching, ..status })));
}

#[test]
fn what_a_release_says_in_the_signed_metadata() {
    let mut full = release("7.3.0", ">=7.3, <7.4");
    full.store = Some(StoreSchemas { reads_from: 2, writes: 3 });
    full.upgrades_from = Some(version("7.1.0"));
    full.updater = Some(version("0.1.0"));
    full.floor = Some(version("7.2.0"));
    full.downgrade_from = Some(">=7.4, <7.5".parse().unwrap());
    golden::<Release>("release", &full);
    full.withdraws = vec![version("7.2.9")];
    golden::<Release>("release_withdrawing", &full);
    golden::<Release>("release_least", &release("7.3.0", "*"));
}
