//! A site's server whose words are longer than anybody reads: what the users of the PC are told stays readable.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use protocol::{
    ipc::{MAX_REPLY, Reply, Request, Verb, frame},
    message::MAX_TEXT,
    product::ProductId,
};

use crate::{
    site::{Site, place},
    vendor::{Release, Vendor},
};

/// The first reply to a verb, as it comes over the socket.
fn reply(socket: &Path, verb: Verb) -> Reply {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&frame(&Request::new(verb))).unwrap();
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line).unwrap();
    assert!(line.len() <= MAX_REPLY, "{verb:?}: {} bytes", line.len());
    serde_json::from_slice(&line).unwrap()
}

#[test]
fn status_and_watch_answer_whatever_the_server_has_to_say() {
    let (dir, site) = (place(), Site::start());
    let installed = [Release::real_updater("0.1.0"), Release::script("connector", "7.2.0", "exec sleep 1000")];
    let vendor = Vendor::new("vendor", &installed);
    site.honest(&vendor, "7.2.0");
    site.orders("7.2.0");
    site.world.lock().unwrap().why = ", \u{1}\u{e4}".repeat(100_000);
    let service = site.pc(&dir.path().join("pc"), &vendor, &[&installed[0], &installed[1]]);
    service.until("the server's words are there, cut", |status| {
        status["why"]["connector"].as_str().is_some_and(|why| why.contains("because I say so") && why.contains('…'))
    });
    let Reply::Status(status) = reply(&service.layout.socket(), Verb::Status) else { panic!("no status") };
    let why = &status.why[&ProductId::connector()];
    assert!(why.contains("because I say so") && why.chars().count() < 2 * MAX_TEXT, "{} bytes", why.len());
    assert!(matches!(reply(&service.layout.socket(), Verb::Watch), Reply::Progress { .. }));
}
