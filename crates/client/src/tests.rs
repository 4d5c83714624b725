//! Against a socket that answers as a test wants.

use std::{path::Path, time::Duration};

use protocol::ipc::{FrameReader, MAX_REPLY, MAX_REQUEST, Reply, Request, Status, Verb, frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    sync::mpsc,
    task::JoinHandle,
};

use crate::{ClientError, Updater};

/// An updater that answers each connection with the next of these bytes, and tells what it was asked.
fn updater(root: &Path, answers: Vec<Vec<u8>>) -> JoinHandle<Vec<Request>> {
    std::fs::create_dir_all(root.join("run/lockstep")).unwrap();
    let listener = UnixListener::bind(root.join("run/lockstep/updater.sock")).unwrap();
    tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 512];
            let read = stream.read(&mut buffer).await.unwrap();
            let mut reader = FrameReader::new(MAX_REQUEST);
            reader.push(&buffer[..read]);
            asked.push(reader.next_frame().unwrap().unwrap());
            stream.write_all(&answer).await.unwrap();
        }
        asked
    })
}

#[tokio::test]
async fn an_updater_that_is_not_there_is_looked_for_again() {
    let pc = tempfile::tempdir().unwrap();
    let client = Updater::at(pc.path());
    let missing = client.status().await.unwrap_err();
    assert!(missing.to_string().contains("start the service lockstep-updater"), "{missing}");
    let told = tokio::time::timeout(Duration::from_secs(1), client.confirm_healthy()).await;
    assert!(told.is_err(), "it may still be starting");
}

#[tokio::test]
async fn its_status_is_read() {
    let pc = tempfile::tempdir().unwrap();
    let status = Status {
        updater: "0.1.0".parse().unwrap(),
        device: Some("d1".into()),
        server: "https://site".into(),
        products: Default::default(),
        why: Default::default(),
        ticket: None,
        problem: None,
        fetching: Default::default(),
        last_contact: None,
        decisions: Default::default(),
        pc: Default::default(),
        history: vec![],
    };
    let asked = updater(pc.path(), vec![frame(&Reply::Status(Box::new(status.clone())))]);
    assert_eq!(Updater::at(pc.path()).status().await.unwrap(), status);
    assert_eq!(asked.await.unwrap(), [Request::new(Verb::Status)]);
}

#[tokio::test]
async fn the_word_that_it_works_is_repeated_until_it_counts() {
    let pc = tempfile::tempdir().unwrap();
    let no = frame(&Reply::Refused { error: "not yet".into() });
    let yes = frame(&Reply::Ok { detail: "confirmed".into() });
    let asked = updater(pc.path(), vec![no, yes]);
    assert!(Updater::at(pc.path()).confirm_healthy().await);
    assert_eq!(asked.await.unwrap(), [Request::new(Verb::ConfirmHealthy); 2]);
}

#[tokio::test]
async fn garbage_endless_answers_and_silence_are_errors() {
    let pc = tempfile::tempdir().unwrap();
    let asked = updater(pc.path(), vec![b"hello\n".to_vec(), vec![b'x'; MAX_REPLY + 1], vec![]]);
    let client = Updater::at(pc.path());
    assert!(matches!(client.status().await, Err(ClientError::Malformed(_))));
    assert!(matches!(client.status().await, Err(ClientError::Malformed(_))));
    assert!(matches!(client.status().await, Err(ClientError::Broken(_))));
    asked.await.unwrap();
}

#[tokio::test]
async fn a_no_is_told_in_the_updaters_words() {
    let pc = tempfile::tempdir().unwrap();
    let no = frame(&Reply::Refused { error: "nothing waits for your consent".into() });
    let asked = updater(pc.path(), vec![no]);
    let refused = Updater::at(pc.path()).consent().await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused(why) if why == "nothing waits for your consent"));
    assert_eq!(asked.await.unwrap(), [Request::new(Verb::Consent)]);
}

#[tokio::test]
async fn only_restarts_of_the_own_product_are_handed_on_and_unknown_replies_are_passed_over() {
    let pc = tempfile::tempdir().unwrap();
    let order = |product: &str, version: &str| {
        frame(&Reply::RestartNow { product: product.parse().unwrap(), version: version.parse().unwrap() })
    };
    let unknown = b"{\"reply\":\"of_a_later_release\"}\n".to_vec();
    // The connection ends after that, and the next one begins with the order that stands.
    let first = [order("other", "9.0.0"), unknown, order("mine", "1.1.0")].concat();
    let asked = updater(pc.path(), vec![first, order("mine", "1.2.0")]);
    let (orders, mut restarts) = mpsc::channel(8);
    let client = Updater::at(pc.path());
    let following = tokio::spawn(async move { client.follow("mine".parse().unwrap(), orders).await });
    assert_eq!(restarts.recv().await.unwrap().to_string(), "1.1.0");
    assert_eq!(restarts.recv().await.unwrap().to_string(), "1.2.0");
    assert_eq!(asked.await.unwrap(), [Request::new(Verb::Watch); 2]);
    drop(restarts);
    tokio::time::timeout(Duration::from_secs(20), following).await.unwrap().unwrap();
}
