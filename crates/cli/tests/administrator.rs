//! The administrator's half from outside: exit codes, refusals, and what reaches the server. The answers are canned; the
//! whole-system test has a real server.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// A server that answers every request by its path, and remembers them. With status 307 the answer is where to go.
struct Canned {
    data: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    fn new(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let data = tempfile::tempdir().unwrap();
        let admin = json!({ "url": url, "certificate": null, "token": "t0ken", "later": "field" });
        fs::write(data.path().join("admin.json"), admin.to_string()).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let (mut first, mut length, mut token) = (String::new(), 0, false);
                if reader.read_line(&mut first).unwrap() == 0 {
                    continue;
                }
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let line = line.trim_end().to_ascii_lowercase();
                    if line.is_empty() {
                        break;
                    }
                    if let Some(n) = line.strip_prefix("content-length: ") {
                        length = n.parse().unwrap();
                    }
                    token |= line == "authorization: bearer t0ken";
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let request = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
                let (status, answer) = if token { answer(&request) } else { (401, "{}".into()) };
                seen.lock()
                    .unwrap()
                    .push(format!("{request} {}", String::from_utf8(body).unwrap()).trim_end().to_owned());
                let location = if status == 307 { format!("location: {answer}\r\n") } else { String::new() };
                write!(
                    reader.get_mut(),
                    "HTTP/1.1 {status} X\r\n{location}content-length: {}\r\nconnection: close\r\n\r\n{answer}",
                    answer.len()
                )
                .unwrap();
            }
        });
        Self { data, requests }
    }

    fn run(&self, args: &[&str]) -> Output {
        lockstep().args(args).env("LOCKSTEP_DATA", self.data.path()).output().unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn lockstep() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.stdin(Stdio::null()).env_remove("LOCKSTEP_DATA").env_remove("COLUMNS");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn report(cut_off: u64, known: bool) -> Value {
    let row = json!({ "user": "alice@example.test", "pc": "pc-bare", "installed": "7.2.0", "updater": null,
                      "readiness": "cut-off", "reason": "updater not installed", "remedy": "reinstall",
                      "last_seen": "2026-05-04T10:30:00Z" });
    let rows = vec![row; usize::try_from(cut_off).unwrap()];
    json!({ "v": 1, "product": "connector", "server": "7.2.0", "to": "7.3.0", "known": known,
            "why_unknown": (!known).then_some("reports are off"), "rows": rows,
            "summary": { "ready": 1, "staged": 1, "cut_off": cut_off }, "news": "of a later server" })
}

fn site(cut_off: u64, known: bool) -> Canned {
    Canned::new(move |request| match request {
        "GET /v1/admin/preflight?to=7.3.0&product=connector" => (200, report(cut_off, known).to_string()),
        "POST /v1/admin/cut-over" => (200, json!({ "v": 1 }).to_string()),
        other => (404, json!({ "error": format!("no {other}\u{1b}[2J") }).to_string()),
    })
}

#[test]
fn the_preflights_exit_code_says_whether_anybody_would_be_cut_off() {
    for (cut_off, known, code) in [(0, true, 0), (2, true, 2), (0, false, 3)] {
        for args in [&["preflight", "--to", "7.3.0"][..], &["preflight", "--to", "v7.3", "--json"]] {
            let output = site(cut_off, known).run(args);
            assert_eq!(output.status.code(), Some(code), "{args:?} {}", text(&output.stderr));
            if args.contains(&"--json") {
                let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!(answer["news"], "of a later server");
            }
        }
    }
}

#[test]
fn a_cut_over_that_would_cut_users_off_is_not_announced_without_a_yes() {
    for (cut_off, known, code) in [(2, true, 2), (0, false, 3)] {
        let site = site(cut_off, known);
        let output = site.run(&["cut-over", "--to", "7.3.0"]);
        assert_eq!(output.status.code(), Some(code));
        assert!(text(&output.stderr).contains("Nothing was announced"), "{}", text(&output.stderr));
        assert_eq!(site.requests().len(), 1);

        let output = site.run(&["cut-over", "--to", "7.3.0", "--yes"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let told: Vec<_> = site.requests().into_iter().filter(|r| r.starts_with("POST")).collect();
        assert_eq!(told, [r#"POST /v1/admin/cut-over {"product":"connector","to":"7.3.0"}"#]);
    }
}

#[test]
fn a_cut_over_that_cuts_nobody_off_is_announced_at_once() {
    let site = site(0, true);
    let output = site.run(&["cut-over", "--to", "7.3.0"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(site.requests().len(), 2);
}

#[test]
fn a_refusal_is_shown_without_its_escape_sequences() {
    let output = site(0, true).run(&["refresh"]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("refused (404") && error.contains("no POST /v1/admin/refresh"), "{error}");
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn the_lines_for_dovecot_are_printed_as_the_server_made_them() {
    let lines = "# Lockstep\nimap_id_retain = yes\n";
    let site = Canned::new(move |request| match request {
        "GET /v1/admin/mail-gate" => (200, json!({ "v": 1, "dovecot": lines }).to_string()),
        other => (404, json!({ "error": other }).to_string()),
    });
    let output = site.run(&["mail-gate"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), lines.to_owned()), "{}", text(&output.stderr));
    let off = Canned::new(|_| (409, json!({ "error": "there is no mail gate: set `listen`" }).to_string()));
    let output = off.run(&["mail-gate"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).is_empty() && text(&output.stderr).contains("set `listen`"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn nothing_secret_follows_a_redirect() {
    let elsewhere = Canned::new(|_| (200, report(0, true).to_string()));
    let admin: Value = serde_json::from_slice(&fs::read(elsewhere.data.path().join("admin.json")).unwrap()).unwrap();
    let url = admin["url"].as_str().unwrap().to_owned();
    let site = Canned::new(move |_| (307, format!("{url}v1/admin/preflight")));
    assert_eq!(site.run(&["preflight", "--to", "7.3.0"]).status.code(), Some(1));
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn wrong_calls_end_with_1_and_say_what_to_do() {
    for (args, advice) in [
        (&["preflight"][..], "--to"),
        (&["preflight", "--to", "seven"], "write it as 7.3.0"),
        (&["status", "--data", "/nonexistent"], "give the server's data directory with --data DIR"),
        (&["settings", "readiness", "perhaps"], "possible values: on, off"),
        (&["warn"], "--now"),
    ] {
        let output = lockstep().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).contains(advice), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn help_and_version_are_there() {
    let version = lockstep().arg("--version").output().unwrap();
    assert!(version.status.success() && text(&version.stdout).starts_with("lockstep "));
    let help = lockstep().arg("--help").output().unwrap();
    assert!(help.status.success());
    insta::assert_snapshot!(text(&help.stdout));
}
