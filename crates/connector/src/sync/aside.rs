//! Tells the user, once, that a change was set aside because the connection breaks at it: a local message in INBOX.

use mail_store::{Pending, PendingOp, Store};

use super::upload;
use crate::{
    clock,
    local::{CallError, StoreHandle},
};

/// Tells of the change `seq`; `why` is what the connection broke with.
pub(super) async fn tell(store: &StoreHandle, seq: i64, why: String) -> Result<(), CallError> {
    store
        .call(move |store| {
            let change = store.pending(u32::MAX)?.into_iter().find(|change| change.seq == seq);
            let (Some(change), Some(inbox)) = (change, store.folder_by_name("INBOX")?) else { return Ok(()) };
            if upload::tell_once(store, seq)? {
                let text = notice(store, &change, &why)?;
                store.append_notice(inbox.id, text.as_bytes(), clock::unix())?;
            }
            Ok(())
        })
        .await
}

fn notice(store: &Store, change: &Pending, why: &str) -> mail_store::Result<String> {
    let what = match &change.op {
        PendingOp::Append { folder_name, body, .. }
        | PendingOp::Copy { folder_name, body, .. }
        | PendingOp::Move { folder_name, body, .. } => {
            let header = store.header(&body.parse()?)?;
            format!("the message \"{}\" to the folder \"{}\"", subject(&header), clean(folder_name))
        }
        PendingOp::Flags { place, .. } | PendingOp::Expunge { place } => {
            format!("a change to a message in the folder \"{}\"", clean(&place.folder_name))
        }
        _ => "a change to your folders".into(),
    };
    let date = jiff::fmt::rfc2822::to_string(&clock::now().to_zoned(jiff::tz::TimeZone::UTC));
    let id = rand::random::<u64>();
    Ok(format!(
        "From: Lockstep connector <lockstep-connector@localhost>\r\n\
         Subject: [Lockstep] A change cannot be brought to the mail server\r\n\
         Date: {}\r\n\
         Message-ID: <lockstep-{id:016x}@lockstep.localhost>\r\n\
         MIME-Version: 1.0\r\n\
         Auto-Submitted: auto-generated\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\
         \r\n\
         This message was written by the connector on this computer, not by anybody on the network.\r\n\
         \r\n\
         The connection broke each time the connector tried to bring {what} to the mail server\r\n\
         ({}).\r\n\
         \r\n\
         Nothing is lost: it stays on this computer and is tried again, but more rarely. Everything else goes on.\r\n\
         If this lasts, show this message to your administrator.\r\n",
        date.unwrap_or_default(),
        clean(why),
    ))
}

fn subject(header: &[u8]) -> String {
    let header = String::from_utf8_lossy(header);
    let line = header.lines().find_map(|line| {
        line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("subject")).map(|(_, value)| value.trim())
    });
    clean(line.unwrap_or("without a subject"))
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
