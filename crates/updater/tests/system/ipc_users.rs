//! The socket, called by different users and programs: exactly the published table.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use ed25519_dalek::SigningKey;
use lockstep_updater::{
    driver::{Event, Published, Why},
    identity::Identity,
    ipc::{
        self, Hub,
        rules::{Open, open},
    },
    platform::Listener,
    slots::RealDisk,
};
use protocol::{
    Timestamp, Version,
    device::ProductState,
    ipc::{Reply, Request, Verb, frame},
    message::TicketClaim,
};
use tokio::sync::{mpsc, watch};

use crate::fixture::{Pc, connector, needs_root, version};

const SOCKET: &str = "LOCKSTEP_TEST_CALLER_SOCKET";
const BYTES: &str = "LOCKSTEP_TEST_CALLER_BYTES";

/// Not a test: another user's program. Sends what it is told to, prints the answer.
#[test]
#[ignore = "run by the tests below, as other users"]
fn caller() {
    let mut stream = UnixStream::connect(std::env::var_os(SOCKET).unwrap()).unwrap();
    stream.write_all(std::env::var(BYTES).unwrap().as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        answer.push(byte[0]);
    }
    println!("ANSWER {}", String::from_utf8(answer).unwrap());
}

/// A service whose driver answers consents and remembers what it was told.
pub struct Service {
    pub pc: Pc,
    told: Arc<Mutex<Vec<String>>>,
    /// This test's program as the active version's program, and a copy of it elsewhere.
    active: PathBuf,
    copy: PathBuf,
    _published: watch::Sender<Published>,
}

pub fn service() -> Service {
    needs_root();
    let pc = Pc::new();
    let tree = pc.dir.path().join("tree");
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::copy(std::env::current_exe().unwrap(), tree.join("bin/program")).unwrap();
    let (old, _) = (pc.package("7.2.0", "exit 0"), ());
    pc.stage(&old.1, "7.2.0");
    install_program(&pc, &tree.join("bin/program"));
    let copy = pc.dir.path().join("copy");
    fs::copy(tree.join("bin/program"), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let active = pc.layout.version(&connector(), &version("7.3.0")).join("bin/program");

    let state = ProductState { installed: Some(version("7.3.0")), ..ProductState::default() };
    let published = Published { products: BTreeMap::from([(connector(), state)]), ..Published::default() };
    let published = watch::Sender::new(published);
    let (events, mut inbox) = mpsc::channel(16);
    let key = SigningKey::from_bytes(&[7; 32]);
    let identity = Identity::create(pc.layout.identity(), Arc::new(RealDisk), "pc-1".into(), key).unwrap();
    let hub = Hub {
        published: published.subscribe(),
        fetching: watch::Sender::default().subscribe(),
        events,
        tickets: watch::Sender::new(Some(identity.tickets())).subscribe(),
        slots: pc.slots.clone(),
        layout: pc.layout.clone(),
        version: Version::new(0, 1, 0),
        server: "https://mail.example.test".into(),
        clock: Timestamp::now,
        limits: Mutex::default(),
    };
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = told.clone();
    let socket = pc.layout.socket();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            tokio::spawn(ipc::listen(Listener::bind(&socket).unwrap(), Arc::new(hub)));
            while let Some(event) = inbox.recv().await {
                let line = match event {
                    Event::Wanted(Why::Asked) => "check_now".to_owned(),
                    Event::Confirmed(product, version) => format!("confirmed {product} {version}"),
                    Event::Consent(_, answer) => {
                        drop(answer.send(Ok("agreed".into())));
                        "consent".to_owned()
                    }
                    Event::Retry(answer) => {
                        drop(answer.send(Ok("again".into())));
                        "retry".to_owned()
                    }
                    other => panic!("{other:?}"),
                };
                telling.lock().unwrap().push(line);
            }
        });
    });
    while UnixStream::connect(pc.layout.socket()).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Service { pc, told, active, copy, _published: published }
}

/// Puts a program into a slot without compressing it first, since this test's own is large.
fn install_program(pc: &Pc, program: &Path) {
    let manifest = release::package::Manifest {
        v: 1,
        description: release::package::Description {
            product: connector(),
            version: version("7.3.0"),
            platform: protocol::product::Platform::current(),
            program: "bin/program".into(),
            self_check: vec![],
            restart: Default::default(),
            health: Default::default(),
        },
        files: vec![],
    };
    let fill = &mut |into: &Path| {
        fs::create_dir(into.join("bin")).unwrap();
        fs::copy(program, into.join("bin/program")).unwrap();
        fs::set_permissions(into.join("bin/program"), fs::Permissions::from_mode(0o755)).unwrap();
        Ok(manifest.clone())
    };
    pc.slots.stage(&connector(), &version("7.3.0"), 1, fill).unwrap();
    pc.activate("7.3.0");
}

impl Service {
    /// Calls as a user, from a program.
    fn call(&self, uid: u32, program: &Path, bytes: &str) -> String {
        let id = uid.to_string();
        let output = Command::new("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
            .arg(program)
            .args(["--ignored", "--exact", "ipc_users::caller", "--nocapture", "--test-threads=1"])
            .env(SOCKET, self.pc.layout.socket())
            .env(BYTES, bytes)
            .current_dir("/")
            .output()
            .expect("this test needs setpriv: apt-get install util-linux");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer = text.lines().find_map(|l| l.split("ANSWER ").nth(1));
        answer.unwrap_or_else(|| panic!("no answer: {output:?}")).to_owned()
    }

    fn ask(&self, uid: u32, program: &Path, verb: Verb) -> Reply {
        let bytes = String::from_utf8(frame(&Request::new(verb))).unwrap();
        serde_json::from_str(&self.call(uid, program, &bytes)).unwrap()
    }

    pub fn told(&self) -> Vec<String> {
        // The driver's thread takes an event an instant after the caller has its answer.
        std::thread::sleep(Duration::from_millis(50));
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

#[test]
fn each_verb_is_open_to_exactly_those_in_the_table() {
    let service = service();
    let programs = [(&service.active, true), (&service.copy, false)];
    for uid in [0, 60001, 60002, 65534] {
        for (program, is_active) in programs {
            for verb in Verb::ALL {
                let reply = service.ask(uid, program, verb);
                let allowed = match open(verb) {
                    Open::ToAll | Open::ToAllSparingly => true,
                    Open::ToActiveProgram => is_active,
                    Open::ToRoot => uid == 0,
                };
                let refused = matches!(reply, Reply::Refused { .. });
                assert_eq!(refused, !allowed, "{verb:?} as {uid}, active program: {is_active}: {reply:?}");
                let effect: &[&str] = match (verb, allowed) {
                    (Verb::CheckNow, _) => &["check_now"],
                    (Verb::Consent, _) => &["consent"],
                    (Verb::Retry, true) => &["retry"],
                    (Verb::ConfirmHealthy, true) => &["confirmed connector 7.3.0"],
                    _ => &[],
                };
                assert_eq!(service.told(), effect, "{verb:?} as {uid}, active program: {is_active}");
            }
        }
    }
}

#[test]
fn a_ticket_names_the_user_that_the_kernel_names() {
    let service = service();
    for uid in [60001, 60002] {
        let Reply::Status(status) = service.ask(uid, &service.copy, Verb::Status) else { panic!("no status") };
        let claim: TicketClaim = serde_json::from_str(&status.ticket.unwrap().claim).unwrap();
        assert_eq!((claim.uid, claim.device.as_str()), (uid, "pc-1"));
    }
}

#[test]
fn the_documented_example_for_other_languages_works() {
    let service = service();
    let text = include_str!("../../../../docs/ipc.md");
    let example = text.split("```python\n").nth(1).and_then(|rest| rest.split("\nMINE").next()).unwrap();
    let path = service.pc.layout.socket();
    let example = example.replace("/run/lockstep/updater.sock", path.to_str().unwrap())
        + "\nprint(next(ask('consent')))\nprint(next(ask('confirm_healthy')))\nprint(next(ask('watch')))";
    let output = Command::new("python3").args(["-c", &example]).output();
    let output = output.expect("this test needs python3: apt-get install python3");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{output:?}");
    assert_eq!((lines[0], lines[1]), ("0.1.0", "{'reply': 'ok', 'detail': 'agreed'}"));
    assert!(lines[2].contains("'refused'"), "an interpreter is not the active version's program: {said}");
    assert!(lines[3].contains("'progress'") && lines[3].contains("'connector'"), "{said}");
    assert_eq!(service.told(), ["consent"]);
}

#[test]
fn the_old_versions_program_cannot_confirm_the_new_one() {
    let service = service();
    service.pc.activate("7.2.0");
    assert!(matches!(service.ask(60001, &service.active, Verb::ConfirmHealthy), Reply::Refused { .. }));
    assert_eq!(service.told(), Vec::<String>::new());
}

#[test]
fn what_is_not_a_request_is_refused_and_has_no_effect() {
    let service = service();
    for bytes in [
        "{\"v\":1,\"verb\":\"check_now\",\"url\":\"https://evil.example\"}\n".to_owned(),
        "{\"v\":2,\"verb\":\"consent\"}\n".to_owned(),
        "{\"v\":1,\"verb\":\"install\"}\n".to_owned(),
        "\n".to_owned(),
        " ".repeat(5000),
    ] {
        let reply: Reply = serde_json::from_str(&service.call(60001, &service.copy, &bytes)).unwrap();
        assert!(matches!(reply, Reply::Refused { .. }), "{bytes:.60}: {reply:?}");
    }
    assert_eq!(service.told(), Vec::<String>::new());
}

#[test]
fn one_user_cannot_ask_for_check_ins_without_end_nor_take_them_from_others() {
    let service = service();
    let refused = |uid| matches!(service.ask(uid, &service.copy, Verb::CheckNow), Reply::Refused { .. });
    let refusals = (0..8).filter(|_| refused(60001)).count();
    assert_eq!(refusals, 8 - ipc::limits::CHECKS);
    assert!(!refused(60002));
}

#[test]
fn the_socket_is_open_to_all_and_its_directory_is_not() {
    let service = service();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&service.pc.layout.socket()), 0o666);
    assert_eq!(mode(&service.pc.layout.run_dir()), 0o755);
}
