//! From keys to a repository that clients follow.

use std::{fs, io::Read};

use protocol::{Timestamp, product::ProductId};
use release::tuf::{DirectoryFetch, Verifier, consistent_target_path};

use crate::bench::{Bench, copy_dir, read, versions};

#[test]
fn a_release_travels_from_a_directory_of_files_to_a_client() {
    let bench = Bench::new();
    bench.add("7.2.0", &["--server", ">=7.2, <7.3", "--store-reads", "1", "--store-writes", "2"]);
    let said = bench.publish();
    assert!(said.contains("Published connector/connector-7.2.0-linux-x86_64.lpk"), "{said}");

    let state = bench.read(&bench.client("client")).unwrap();
    assert_eq!(versions(&state), ["7.2.0"]);
    assert!(state.skipped().is_empty());
    let entry = &state.catalog().entries[0];
    assert_eq!(entry.target, "connector/connector-7.2.0-linux-x86_64.lpk");
    assert_eq!(entry.release.product, ProductId::connector());
    assert_eq!(entry.release.store.unwrap().writes, 2);

    let path = DirectoryFetch::new(bench.repo()).target(&consistent_target_path(&entry.target, &entry.sha256));
    let bytes = fs::read(path).unwrap();
    let mut verifier = Verifier::new(entry.length, &entry.sha256);
    verifier.update(&bytes).unwrap();
    verifier.finish().unwrap();
    let into = tempfile::tempdir().unwrap();
    let manifest = release::package::unpack(bytes.as_slice(), into.path()).unwrap();
    assert_eq!(manifest.description.version, entry.release.version);
    let program = fs::read_to_string(into.path().join("bin/lockstep-connector")).unwrap();
    assert_eq!(program, "#!/bin/sh\necho 7.2.0\n");
}

#[test]
fn a_client_with_the_older_state_follows_the_next_publication() {
    let bench = Bench::published();
    let client = bench.client("client");
    assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0"]);
    bench.add("7.3.0", &["--server", ">=7.3, <7.4"]);
    bench.publish();
    let state = bench.read(&client).unwrap();
    assert_eq!((versions(&state), state.version()), (vec!["7.2.0".into(), "7.3.0".into()], 2));
    assert_eq!(versions(&client.known().unwrap().unwrap()), ["7.2.0", "7.3.0"]);
}

#[test]
fn what_was_published_is_what_a_mirror_serves_byte_for_byte() {
    let bench = Bench::published();
    let state = bench.read(&bench.client("client")).unwrap();
    let names: Vec<_> = state.metadata().iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["1.root.json", "1.snapshot.json", "1.targets.json", "timestamp.json"]);
    for file in state.metadata() {
        let mut published = Vec::new();
        fs::File::open(bench.repo().join("metadata").join(&file.name)).unwrap().read_to_end(&mut published).unwrap();
        assert_eq!(published, file.bytes, "{}", file.name);
    }
}

#[test]
fn a_timestamp_is_renewed_with_the_online_keys_alone() {
    let bench = Bench::published();
    let client = bench.client("client");
    bench.read(&client).unwrap();
    fs::rename(bench.path("offline"), bench.path("in the safe")).unwrap();
    bench.ok(&["renew", "--repo", "repo", "--online", "online", "--timestamp-days", "60"]);
    let pinned = fs::read(bench.path("online/root.json")).unwrap();
    let fresh = release::tuf::Repository::open(&bench.path("fresh"), &pinned).unwrap();
    for client in [&client, &fresh] {
        let state = bench.read(client).unwrap();
        assert_eq!((state.version(), versions(&state)), (2, vec!["7.2.0".into()]));
        assert!(state.expires() > Timestamp::now() + jiff::SignedDuration::from_hours(24 * 50));
    }
}

#[test]
fn a_publication_that_is_cut_off_anywhere_leaves_the_old_state_or_the_new_one() {
    let bench = Bench::published();
    copy_dir(&bench.repo(), &bench.path("before"));
    bench.add("7.3.0", &[]);
    bench.publish();
    // What `publish` writes, in the order it writes it: packages, N.targets, N.snapshot, timestamp.
    let entry = bench.read(&bench.client("after")).unwrap().catalog().entries[1].clone();
    let package = format!("targets/{}", consistent_target_path(&entry.target, &entry.sha256));
    let order = [package.as_str(), "metadata/2.targets.json", "metadata/2.snapshot.json", "metadata/timestamp.json"];
    let partial = bench.path("before");
    for (n, file) in order.iter().enumerate() {
        let state = read(&bench.client(&format!("client {n}")), &partial, Timestamp::now()).unwrap();
        assert_eq!(versions(&state), ["7.2.0"], "before {file}");
        fs::copy(bench.repo().join(file), partial.join(file)).unwrap();
    }
    let state = read(&bench.client("client"), &partial, Timestamp::now()).unwrap();
    assert_eq!(versions(&state), ["7.2.0", "7.3.0"]);
}

#[test]
fn a_first_publication_that_broke_off_is_finished_with_the_same_root() {
    let bench = Bench::published();
    let root = bench.root();
    // As if it had been killed after the root: nothing else was written or remembered.
    fs::remove_dir_all(bench.repo()).unwrap();
    for ring in ["offline", "online"] {
        fs::remove_dir_all(bench.path(ring).join("trusted")).unwrap();
    }
    bench.add("7.2.0", &[]);
    bench.publish();
    assert_eq!(bench.root(), root);
    assert_eq!(versions(&bench.read(&bench.client("client")).unwrap()), ["7.2.0"]);
}

#[test]
fn a_version_is_never_published_with_other_bytes() {
    let bench = Bench::published();
    let again = bench.pack("7.2.0");
    let file = again.to_str().unwrap();
    // The same bytes may be said something else about.
    bench.ok(&["release", "add", "--repo", "repo", file, "--server", ">=7.2, <7.5"]);
    bench.publish();
    assert_eq!(
        bench.read(&bench.client("client")).unwrap().catalog().entries[0].release.server.to_string(),
        ">=7.2, <7.5"
    );

    fs::write(bench.path("build-7.2.0/share/notes.txt"), "other").unwrap();
    let other = bench.path("other.lpk");
    bench.ok(&[
        "pack",
        "build-7.2.0",
        "--product",
        "connector",
        "--version",
        "7.2.0",
        "--program",
        "bin/lockstep-connector",
        "--os",
        "linux",
        "--arch",
        "x86_64",
        "-o",
        other.to_str().unwrap(),
    ]);
    let why = bench.fails(&["release", "add", "--repo", "repo", other.to_str().unwrap()]);
    assert!(why.contains("published already, with other bytes"), "{why}");
}

#[test]
fn a_package_must_be_what_it_is_claimed_to_be() {
    let bench = Bench::new();
    let file = bench.pack("7.3.0");
    let add = ["release", "add", "--repo", "repo", file.to_str().unwrap()];
    for (flags, reason) in [
        (vec!["--version", "7.4.0"], "holds version 7.3.0, not 7.4.0"),
        (vec!["--product", "updater"], "holds connector, not updater"),
        (vec!["--floor", "7.4.0"], "--floor 7.4.0 is above 7.3.0"),
        (vec!["--channel", "Stable!"], "is not a channel"),
        (vec!["--store-reads", "3", "--store-writes", "2"], "--store-reads 3 is above"),
    ] {
        let why = bench.fails(&[&add, flags.as_slice()].concat());
        assert!(why.contains(reason), "{why}");
    }
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert!(bench.fails(&add).contains("is refused"));
    bytes.push(0);
    fs::write(&file, "not a package").unwrap();
    assert!(bench.fails(&add).contains("not a Lockstep package"));
    assert!(bench.ok(&["release", "list", "--repo", "repo"]).contains("Nothing waits"));
}

#[test]
fn an_installer_is_published_as_it_is_and_is_no_release() {
    let bench = Bench::published();
    let name = "lockstep-connector-7.2.0-x64.msi";
    let msi = [&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1][..], b"and the rest"].concat();
    fs::write(bench.path(name), &msi).unwrap();
    fs::write(bench.path("lockstep-connector-7.9.0-x64.msi"), "no MSI").unwrap();
    fs::write(bench.path("setup.msi"), &msi).unwrap();
    for (line, why) in [
        ("release add --repo repo lockstep-connector-7.9.0-x64.msi", "not a package of Windows Installer"),
        ("release add --repo repo setup.msi", "say --product and --version"),
        ("release add --repo repo lockstep-connector-7.2.0-x64.msi --floor 7.2.0", "says nothing of other versions"),
    ] {
        let said = bench.line_fails(line);
        assert!(said.contains(why), "{said}");
    }
    bench.ok(&["release", "add", "--repo", "repo", name, "--server", ">=7.2, <7.3"]);
    bench.publish();
    let state = bench.read(&bench.client("client")).unwrap();
    assert_eq!(
        (versions(&state), state.skipped().len()),
        (vec!["7.2.0".into()], 0),
        "updaters see one release, the package"
    );
    let [entry] = state.installers() else { panic!("{:?}", state.installers()) };
    assert_eq!(entry.target, "connector/connector-7.2.0-windows-x86_64.msi");
    assert_eq!(
        (entry.release.version.to_string(), entry.release.server.to_string()),
        ("7.2.0".into(), ">=7.2, <7.3".into())
    );
    let published = DirectoryFetch::new(bench.repo()).target(&consistent_target_path(&entry.target, &entry.sha256));
    assert_eq!(fs::read(&published).unwrap(), msi);
    assert!(bench.ok(&["inspect", "repo"]).contains("installer, channel stable, for servers >=7.2, <7.3"));
    fs::write(&published, [&msi[..], b"!"].concat()).unwrap();
    assert!(bench.line_fails("inspect repo").contains("is not the package that was signed"));
    // The same name with other bytes is another installer of the same version.
    fs::write(bench.path(name), [&msi[..], b"?"].concat()).unwrap();
    assert!(bench.fails(&["release", "add", "--repo", "repo", name]).contains("with other bytes"));
}

#[test]
fn what_waits_can_be_listed_and_taken_back() {
    let bench = Bench::new();
    bench.add("7.3.0", &[]);
    let target = "connector/connector-7.3.0-linux-x86_64.lpk";
    let listed = bench.ok(&["release", "list", "--repo", "repo"]);
    assert_eq!(listed, format!("{target}  for servers >=7.3, <7.4\n"));
    bench.ok(&["release", "drop", "--repo", "repo", target]);
    assert!(bench.fails(&["release", "drop", "--repo", "repo", target]).contains("does not wait"));
    bench.publish();
    assert!(bench.read(&bench.client("client")).unwrap().catalog().entries.is_empty());
}

#[test]
fn inspect_shows_packages_and_repositories_and_fails_on_what_does_not_verify() {
    let bench = Bench::published();
    let shown = bench.ok(&["inspect", "connector-7.2.0.lpk"]);
    assert!(shown.contains("connector 7.2.0 for linux-x86_64"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&bench.ok(&["inspect", "repo", "--root", "offline/root.json", "--json"])).unwrap();
    assert_eq!(json["releases"][0]["release"]["version"], "7.2.0");
    let state = bench.read(&bench.client("client")).unwrap();
    let entry = &state.catalog().entries[0];
    let package = DirectoryFetch::new(bench.repo()).target(&consistent_target_path(&entry.target, &entry.sha256));
    let good = fs::read(&package).unwrap();
    fs::copy(bench.pack("7.2.1"), &package).unwrap();
    assert!(bench.fails(&["inspect", "repo"]).contains("is not the package that was signed"));
    fs::remove_file(&package).unwrap();
    assert!(bench.fails(&["inspect", "repo"]).contains("cannot read"));
    fs::write(&package, good).unwrap();
    bench.ok(&["inspect", "repo"]);
    fs::write(bench.repo().join("metadata/1.targets.json"), "{}").unwrap();
    assert!(bench.fails(&["inspect", "repo"]).contains("does not verify"));
}

#[test]
fn a_package_is_not_written_into_the_directory_that_is_packed() {
    let bench = Bench::bare();
    bench.pack("7.2.0");
    let pack = ["pack", "build-7.2.0", "--product", "connector", "--version", "7.2.0"];
    let into = ["--program", "bin/lockstep-connector", "-o", "build-7.2.0/bin/c.lpk"];
    let why = bench.fails(&[&pack[..], &into].concat());
    assert!(why.contains("write it to another directory"), "{why}");
    assert_eq!(fs::read_dir(bench.path("build-7.2.0/bin")).unwrap().count(), 1);
}

#[test]
fn a_program_carries_the_root_that_it_was_packed_with_and_no_second_one() {
    let bench = Bench::published();
    bench.pack("7.3.0");
    let pack = |dir: &str, root: &str| {
        let program = ["--product", "updater", "--version", "0.1.0", "--program", "bin/lockstep-connector"];
        [&["pack", dir, "--carry-root", root, "-o", "updater.lpk"], &program[..]].concat().join(" ")
    };
    let run = |line: &str| bench.run(&line.split(' ').collect::<Vec<_>>());
    let packed = run(&pack("build-7.3.0", "online/root.json"));
    assert!(packed.status.success(), "{packed:?}");

    let into = tempfile::tempdir().unwrap();
    release::package::unpack(fs::File::open(bench.path("updater.lpk")).unwrap(), into.path()).unwrap();
    let program = into.path().join("bin/lockstep-connector");
    let carried = release::carried_root::read(&mut fs::File::open(&program).unwrap()).unwrap();
    assert_eq!(carried, Some(bench.root()));
    let source = fs::read(bench.path("build-7.3.0/bin/lockstep-connector")).unwrap();
    assert!(fs::read(&program).unwrap().starts_with(&source) && source.len() < 100, "what was built is as it was");
    assert_eq!(fs::read(into.path().join("share/notes.txt")).unwrap(), b"This is 7.3.0.\n");

    fs::create_dir_all(bench.path("again/bin")).unwrap();
    fs::copy(&program, bench.path("again/bin/lockstep-connector")).unwrap();
    let again = bench.fails(&pack("again", "online/root.json").split(' ').collect::<Vec<_>>());
    assert!(again.contains("carries a root already"), "{again}");
    fs::write(bench.path("not.json"), "{}").unwrap();
    let bad = bench.fails(&pack("build-7.3.0", "not.json").split(' ').collect::<Vec<_>>());
    assert!(bad.contains("not.json cannot be carried"), "{bad}");
}

#[test]
fn a_publication_that_is_killed_at_any_moment_leaves_a_state_that_clients_read_and_the_next_run_finishes() {
    let bench = Bench::published();
    bench.ok(&["key", "new", "offline/connector.pem", "--unencrypted"]);
    bench.line("delegation add connector --product connector --key offline/connector.pub --repo repo");
    bench.line("role set root --threshold 3 --repo repo");
    bench.add("7.3.0", &[]);
    let client = bench.client("client");
    bench.read(&client).unwrap();
    // How long it takes here, undisturbed, on a copy.
    let started = std::time::Instant::now();
    for name in ["repo", "offline", "online"] {
        copy_dir(&bench.path(name), &bench.path("copy").join(name));
    }
    bench.line("publish --repo copy/repo --offline copy/offline --online copy/online");
    let whole = started.elapsed();
    let tries: u32 = if std::env::var_os("LOCKSTEP_SOAK").is_some() { 200 } else { 8 };
    for n in 0..tries {
        let mut run = bench
            .command(&["publish", "--repo", "repo", "--offline", "offline", "--online", "online"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * n / tries);
        run.kill().unwrap();
        run.wait().unwrap();
        for client in [&client, &bench.client(&format!("fresh {n}"))] {
            let offered = versions(&bench.read(client).unwrap());
            assert!(offered == ["7.2.0"] || offered == ["7.2.0", "7.3.0"], "{offered:?} after {n}");
        }
    }
    bench.publish();
    assert_eq!(versions(&bench.read(&client).unwrap()), ["7.2.0", "7.3.0"]);
    assert!(bench.line("staging status --repo repo").contains("Nothing waits"));
    bench.line("repo check repo --root offline/root.json");
}

#[test]
fn a_repository_is_inspected_over_the_web_too() {
    let bench = Bench::published();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let metadata = bench.repo().join("metadata");
    std::thread::spawn(move || {
        use std::io::Write;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let name = request.split(' ').nth(1).and_then(|path| path.strip_prefix("/metadata/")).unwrap_or("none");
            let (status, body) =
                fs::read(metadata.join(name)).map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        }
    });
    let shown = bench.ok(&["inspect", &address, "--root", "offline/root.json"]);
    assert!(
        shown.contains("root       1        2 of 3") && shown.contains("connector-7.2.0-linux-x86_64.lpk"),
        "{shown}"
    );
    let json: serde_json::Value = serde_json::from_str(&bench.ok(&["inspect", &address, "--json"])).unwrap();
    assert_eq!(json["roles"][0]["signed_by"].as_array().unwrap().len(), 2);
    let why = bench.fails(&["inspect", &format!("{address}nothing/here")]);
    assert!(why.contains("is no repository"), "{why}");
}
