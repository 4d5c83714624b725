//! A PC whose disk is full: what cannot be kept is not acknowledged, what was acknowledged is not lost, and it goes on when
//! there is room. The real program on a real small file system.

#![cfg(target_os = "linux")]

mod support;

use std::{fs::File, io::Write, time::Duration};

use protocol::message::Gate;
use support::{
    lab::Lab,
    local_client::Smtp,
    mail_rig::{ALICE, BOB},
    message,
};

fn big(subject: &str) -> Vec<u8> {
    let line = format!("{}\r\n", "x".repeat(98));
    [message(subject).strip_suffix(b".\r\nend\r\n").unwrap(), line.repeat(2000).as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_for_now_loses_nothing_says_so_and_goes_on() {
    let lab = Lab::with_disk(Some(4 << 20)).await;
    tokio::task::spawn_blocking(move || full_and_room_again(&lab)).await.unwrap();
}

fn full_and_room_again(lab: &Lab) {
    let running = lab.start(&[]);
    lab.wait("online", |lab| {
        lab.status().filter(|s| s.running && s.gate == Gate::Online).map(drop).ok_or("not yet".into())
    });
    let submit = |subject: &str| {
        let mut smtp = Smtp::open(lab.port("smtp_port"), &lab.plain()).unwrap();
        smtp.submit(ALICE, BOB, &big(subject)).unwrap()
    };
    assert!(submit("before").starts_with("250"));

    let fill = lab.data().join("fill");
    let mut file = File::create(&fill).unwrap();
    while file.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    drop(file);
    let refused = submit("refused");
    assert!(refused.starts_with("452"), "{refused}");
    let refused = lab.imap().unwrap().append("Drafts", "", &big("refused")).unwrap();
    assert!(refused.starts_with("t NO [OVERQUOTA]"), "{refused}");
    lab.rig.append(ALICE, "INBOX", &big("arrived meanwhile"));
    let told = |text: Option<String>| text.filter(|text| text.contains("disk of this PC is full"));
    lab.wait("the status says so", |lab| told(lab.status().and_then(|s| s.notice)).ok_or("not yet".into()));
    lab.wait("the site hears of it", |lab| {
        let seen = lab.site.seen.lock().unwrap();
        told(seen.last().and_then(|c| c.detail.clone())).ok_or(format!("{:?}", seen.last()))
    });
    assert!(lab.imap().unwrap().ok("SELECT INBOX").is_ok(), "what is here can be read");

    std::fs::remove_file(&fill).unwrap();
    lab.wait("it goes on", |lab| {
        let status = lab.status().ok_or("no status")?;
        if status.gate != Gate::Online || status.outbox + status.pending > 0 || status.notice.is_some() {
            return Err(format!("{status:?}"));
        }
        lab.compare_with_local().map_err(|e| e.to_string())?
    });
    assert!(submit("after").starts_with("250"));
    lab.wait("all that was acknowledged arrives", |lab| {
        let count = |subject| lab.copies(BOB, "INBOX", subject).len();
        let all = [count("before"), count("after"), count("refused")];
        if all == [1, 1, 0] { Ok(()) } else { Err(format!("{all:?}")) }
    });
    assert_eq!(lab.copies(ALICE, "Drafts", "refused").len(), 0, "it was not acknowledged");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(lab.copies(BOB, "INBOX", "before").len(), 1);
    lab.stop(running);
}
