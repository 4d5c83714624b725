//! Authenticode signatures, with authorities made for the test: good, tampered with, of somebody else's, expired, time-stamped.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use xtask::{
    dist::{
        sign::{Key, Signer, verify},
        windows::Kind,
    },
    process::must,
};

use crate::{built, small};

/// Authorities, and those whom they have certified.
struct Authorities {
    dir: tempfile::TempDir,
}

impl Authorities {
    fn new() -> Self {
        let all = Self { dir: tempfile::tempdir().unwrap() };
        for ca in ["ca", "other"] {
            all.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem \
                 -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
            ));
        }
        all.leaf("good", "ca", "extendedKeyUsage=codeSigning", &["-days", "365"]);
        all.leaf("foreign", "other", "extendedKeyUsage=codeSigning", &["-days", "365"]);
        all.leaf("tsa", "ca", "extendedKeyUsage=critical,timeStamping", &["-days", "365"]);
        all
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn openssl(&self, words: &str) {
        must(Command::new("openssl").args(words.split_whitespace()).current_dir(self.dir.path())).unwrap();
    }

    fn leaf(&self, name: &str, ca: &str, usage: &str, validity: &[&str]) {
        let extensions = format!("basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n{usage}\n");
        fs::write(self.path("extensions"), extensions).unwrap();
        self.openssl(&format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -extfile extensions -out {name}.pem {}",
            validity.join(" ")
        ));
        let chain = [self.path(&format!("{name}.pem")), self.path(&format!("{ca}.pem"))];
        let chain: String = chain.iter().map(|p| fs::read_to_string(p).unwrap()).collect();
        fs::write(self.path(&format!("{name}-chain.pem")), chain).unwrap();
    }

    fn signer(&self, name: &str, timestamp: Option<String>) -> Signer {
        let key = Key::File(self.path(&format!("{name}.key")));
        Signer { key, certificates: self.path(&format!("{name}-chain.pem")), timestamp }
    }

    /// Answers time-stamp requests over HTTP (RFC 3161, section 3.4) until the test ends; gives its address.
    fn time_stamps(&self) -> String {
        let config = "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\n\
            digests = sha256\naccuracy = secs:1\nordering = no\ntsa_name = no\ness_cert_id_chain = no\n";
        fs::write(self.path("tsa.conf"), config).unwrap();
        fs::write(self.path("serial"), "01\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let dir = self.dir.path().to_owned();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                let body = loop {
                    let read = stream.read(&mut buffer).unwrap();
                    request.extend_from_slice(&buffer[..read]);
                    let Some(head) = request.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                    let words = String::from_utf8_lossy(&request[..head]).to_lowercase();
                    let length = words.lines().find_map(|l| l.strip_prefix("content-length:")).unwrap();
                    let length: usize = length.trim().parse().unwrap();
                    if request.len() >= head + 4 + length {
                        break request[head + 4..].to_vec();
                    }
                };
                fs::write(dir.join("query"), body).unwrap();
                let mut reply = Command::new("openssl");
                reply.args(
                    "ts -reply -config tsa.conf -queryfile query -signer tsa.pem -inkey tsa.key -out reply".split(' '),
                );
                must(reply.current_dir(&dir)).unwrap();
                let reply = fs::read(dir.join("reply")).unwrap();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    reply.len()
                );
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&reply)).unwrap();
            }
        });
        address
    }
}

fn tampered(file: &Path, to: &Path) {
    let mut bytes = fs::read(file).unwrap();
    // Within what is signed: the code of a program, the cabinet of a package.
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    fs::write(to, bytes).unwrap();
}

#[test]
fn a_signature_shows_who_signed_and_that_nothing_was_changed() {
    let all = Authorities::new();
    let ca = all.path("ca.pem");
    let msi = small(all.dir.path(), "0.1.0", "7.2.0").msi(Kind::Updater, all.dir.path()).unwrap();
    let program = all.path("launcher.exe");
    fs::copy(built().path("lockstep-launcher.exe"), &program).unwrap();
    for file in [&msi, &program] {
        let what = file.display();
        assert!(verify(file, &ca, None).is_err(), "{what}: not signed yet");
        all.signer("good", None).sign(file).unwrap();
        verify(file, &ca, None).unwrap();
        let other = verify(file, &all.path("other.pem"), None).unwrap_err();
        assert!(format!("{other:#}").contains("failed"), "{what}: {other:#}");
        let changed = all.path("changed");
        tampered(file, &changed);
        assert!(verify(&changed, &ca, None).is_err(), "{what}: changed");
        all.signer("foreign", None).sign(file).unwrap();
        assert!(verify(file, &ca, None).is_err(), "{what}: somebody else's");
    }
}

#[test]
fn a_time_stamp_makes_a_signature_outlive_its_certificate() {
    let all = Authorities::new();
    let ca = all.path("ca.pem");
    all.leaf("brief", "ca", "extendedKeyUsage=codeSigning", &["-days", "1"]);
    let source = built().path("lockstep-launcher.exe");
    let (plain, stamped) = (all.path("plain.exe"), all.path("stamped.exe"));
    fs::copy(&source, &plain).unwrap();
    fs::copy(&source, &stamped).unwrap();
    all.signer("brief", None).sign(&plain).unwrap();
    all.signer("brief", Some(all.time_stamps())).sign(&stamped).unwrap();
    verify(&plain, &ca, Some(&ca)).unwrap();
    verify(&stamped, &ca, Some(&ca)).unwrap();
    let later = |file: &Path| {
        let mut look = Command::new("faketime");
        look.args(["-f", "+40d", "osslsigncode", "verify", "-CAfile"]).arg(&ca).arg("-TSA-CAfile").arg(&ca);
        look.arg("-in").arg(file).output().unwrap().status.success()
    };
    assert!(!later(&plain), "expired");
    assert!(later(&stamped), "it was signed while the certificate was good");
    let unreachable = all.signer("good", Some("http://127.0.0.1:9/".into())).sign(&plain);
    assert!(unreachable.is_err());
    assert!(!all.path("plain.exe.signing").exists(), "nothing half done is left");
}

#[test]
fn a_key_in_a_token_signs_as_one_in_a_file_does() {
    let all = Authorities::new();
    let (config, tokens) = (all.path("softhsm.conf"), all.path("tokens"));
    fs::create_dir(&tokens).unwrap();
    fs::write(&config, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    fs::write(all.path("pin"), "1234").unwrap();
    let softhsm = |words: &str| {
        let mut util = Command::new("softhsm2-util");
        must(util.args(words.split_whitespace()).current_dir(all.dir.path()).env("SOFTHSM2_CONF", &config)).unwrap();
    };
    all.openssl("pkcs8 -topk8 -nocrypt -in good.key -out good.p8");
    softhsm("--init-token --free --label code --pin 1234 --so-pin 5678");
    softhsm("--import good.p8 --token code --label signing --id 01 --pin 1234");
    let uri = format!("pkcs11:token=code;object=signing;type=private;pin-source={}", all.path("pin").display());
    assert!(Key::new(&uri, None).is_err(), "which library?");
    let module = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
    let module = module.map(Path::new).into_iter().find(|m| m.exists()).unwrap();
    let signer = Signer { key: Key::new(&uri, Some(module)).unwrap(), ..all.signer("good", None) };
    let program = all.path("launcher.exe");
    fs::copy(built().path("lockstep-launcher.exe"), &program).unwrap();
    let environment = |command: &mut Command| {
        command.env("SOFTHSM2_CONF", &config);
    };
    signer.sign_with(&program, environment).unwrap();
    verify(&program, &all.path("ca.pem"), None).unwrap();
}
