//! A second, altered message while a first one is answered: it is read as what it is, and refused; nothing of it happens.

use std::process::{Command, Stdio};

use crate::ipc_users::service;

/// Another user, with one good message and one altered one in every interleaving: one behind the other in one write, cut at any byte,
/// on one connection or on two at once, the second one while the first is being answered.
const ALTERER: &str = r#"
import json, random, socket, sys, time
path, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(seed)
good = b'{"v":1,"verb":"status"}\n'
altered = [
    b'{"v":1,"verb":"status","verb":"consent"}\n',
    b'{"v":1,"verb":"consent","version":"9.9.9"}\n',
    b'{"v":1,"verb":"confirm_healthy"}\n',
    b'{"v":1,"verb":"check_now","url":"http://evil.example"}\n',
    b'{"v":2,"verb":"consent"}\n',
    b'{"v":1,"verb":"consent","uid":0}\n',
    b'{"v":1,"verb":"install"}\n',
    b'"v":1,"verb":"consent"}\n',
]

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(path)
    return s

def replies(s, most):
    data, lines = b"", []
    while len(lines) < most:
        try:
            more = s.recv(65536)
        except ConnectionResetError:
            break
        if not more:
            break
        data += more
        lines = data.split(b"\n")[:-1]
    return [json.loads(line)["reply"] for line in lines]

def send(s, data):
    while data:
        n = random.choice([1, 2, 7, len(data)])
        try:
            s.sendall(data[:n])
        except (BrokenPipeError, ConnectionResetError):
            return
        data = data[n:]
        if random.random() < 0.2:
            time.sleep(random.random() / 2000)

counts = {"status": 0, "refused": 0, "nothing": 0}
for n in range(rounds):
    bad = random.choice(altered)
    if n % 2:
        a, b = connect(), connect()
        i = random.randrange(1, len(good))
        a.sendall(good[:i])
        send(b, bad)
        a.sendall(good[i:])
        first, second = replies(a, 1), replies(b, 1)
        a.close(); b.close()
    else:
        s = connect()
        send(s, good + bad)
        both = replies(s, 2)
        first, second = both[:1], both[1:]
        s.close()
    assert first == ["status"], (bad, first)
    assert second in (["refused"], []), (bad, second)
    counts["status"] += 1
    counts[second[0] if second else "nothing"] += 1
print(json.dumps(counts))
"#;

#[test]
fn a_second_altered_message_after_a_good_one_is_refused_and_changes_nothing() {
    let service = service();
    let rounds = 1000;
    let seed = std::env::var("LOCKSTEP_SEED").unwrap_or_else(|_| "4".into());
    let output = Command::new("setpriv")
        .args(["--reuid=60001", "--regid=60001", "--clear-groups", "python3", "-c", ALTERER])
        .arg(service.pc.layout.socket())
        .args([rounds.to_string(), seed])
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("soak: {rounds} interleavings: {}", String::from_utf8_lossy(&output.stdout).trim());
    assert_eq!(service.told(), Vec::<String>::new(), "nothing happened");
}
