//! Sends what the user's mail program has submitted, when the gate is open.
//!
//! A message is noted as *sending* when the mail server has all of it but the dot that ends it, and as *sent* after the
//! mail server took it. Killed or cut off before the first note, the mail server cannot have it; between the two it may
//! (RFC 1047), and submission has no word for asking: it is sent again, the very same bytes with the same `Message-ID` and
//! the same `X-Lockstep-Submission`. A message may then arrive twice, but never not at all, and a mail server that looks at
//! that header keeps one (docs/adr/0007). A closed gate, or the wish to stop, lets the message that is being sent be
//! finished.
//!
//! What the mail server will never take is not dropped: a clearly marked local message in INBOX says so and holds it.

use std::{sync::Arc, time::Duration};

use mail_store::{OutboxState, Outgoing};
use tokio::sync::watch;

use crate::{
    backoff::{Backoff, draw},
    clock,
    gatekeeper::{GateKeeper, GateState},
    local::{CallError, StoreHandle},
    settings::MailSettings,
    submission::client::{Envelope, Submission, SubmitError},
};

/// A message that the mail server has not taken for this long (seconds; 5 days, RFC 5321 section 4.5.4.1) is given up …
const GIVE_UP_AFTER: i64 = 5 * 24 * 3600;

/// … but only after so many tries (some eight hours of them): a message that waited here for a week, because the
/// computer or the gate was closed, gets as many as any other.
const GIVE_UP_TRIES: u32 = 20;

/// Sends for as long as the future is polled, or until `stop` is set and the message that is being sent is finished.
pub async fn run(
    store: StoreHandle,
    gate: Arc<GateKeeper>,
    settings: watch::Receiver<Arc<MailSettings>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut permit = gate.subscribe();
    let mut news = store.watch_outbox();
    news.mark_changed();
    // The mail server may be gone while the queue is not: all messages then wait together.
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
    loop {
        let mut pause = Duration::from_secs(3600);
        if permit.borrow_and_update().permits {
            pause = match flush(&store, &permit, &settings, &stop).await {
                Ok(next_due) => {
                    backoff.reset();
                    next_due.unwrap_or(pause)
                }
                Err(reason) => {
                    tracing::warn!(%reason, "outgoing mail waits");
                    // The news so far is that this try failed, which is no reason to try again at once.
                    news.mark_unchanged();
                    backoff.next(draw())
                }
            };
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
            _ = news.changed() => {}
            // Opened, or the mail server is back: what waited goes at once.
            changed = permit.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        news.mark_unchanged();
    }
}

/// Sends what is due; gives how long until the next one is.
async fn flush(
    store: &StoreHandle,
    permit: &watch::Receiver<GateState>,
    settings: &watch::Receiver<Arc<MailSettings>>,
    stop: &watch::Receiver<bool>,
) -> Result<Option<Duration>, String> {
    let broken = |e: CallError| e.to_string();
    let at = clock::unix();
    let due = store.call(move |store| store.outbox_due(at)).await.map_err(broken)?;
    let mut submission: Option<Submission> = None;
    for message in due {
        if !permit.borrow().permits || *stop.borrow() {
            break;
        }
        let open = match submission.take() {
            Some(open) => open,
            None => {
                let settings = settings.borrow().clone();
                let (mut gate, mut end) = (permit.clone(), stop.clone());
                // Connecting may take long; nothing has begun yet that would have to be finished.
                tokio::select! {
                    biased;
                    _ = gate.wait_for(|state| !state.permits) => break,
                    _ = end.wait_for(|stop| *stop) => break,
                    opened = Submission::open(&settings) => opened.map_err(|e| chain(&e))?,
                }
            }
        };
        submission = send(store, open, &message).await?;
    }
    if let Some(submission) = submission {
        submission.close().await;
    }
    let outbox = store.call(|store| store.outbox()).await.map_err(broken)?;
    let waiting = outbox
        .iter()
        .filter(|m| matches!(m.state, OutboxState::Queued | OutboxState::Sending))
        .map(|m| m.next_try)
        .min();
    Ok(waiting.map(|next| Duration::from_secs(u64::try_from(next - clock::unix()).unwrap_or(0).max(1))))
}

/// Sends one message and notes what became of it; gives the connection back if it is still good.
async fn send(
    store: &StoreHandle,
    mut submission: Submission,
    message: &Outgoing,
) -> Result<Option<Submission>, String> {
    let broken = |e: CallError| e.to_string();
    let (id, body) = (message.id, message.body);
    let bytes = store.call(move |store| store.body(&body)).await.map_err(broken)?;
    let envelope = Envelope {
        sender: &message.sender,
        recipients: &message.recipients,
        body8bit: message.body8bit,
        smtputf8: message.smtputf8,
    };
    let mut unanswered = message.state == OutboxState::Sending;
    let sent = match submission.begin(envelope, &bytes).await {
        Err(error) => Err(error),
        Ok(refused) => {
            // From here on the mail server may have it. If that cannot be noted, the connection is dropped instead.
            note(store, id, OutboxState::Sending, String::new(), 0, None).await.map_err(broken)?;
            let finished = submission.finish().await;
            unanswered |= finished.as_ref().is_err_and(|error| !error.is_certain());
            finished.map(|reply| (reply, refused))
        }
    };
    let error = match sent {
        Ok((reply, refused)) => {
            tracing::info!(%id, %reply, "sent");
            let notice = (!refused.is_empty()).then(|| not_delivered(message, &refused, &bytes, false));
            note(store, id, OutboxState::Sent, reply, 0, notice).await.map_err(broken)?;
            return Ok(Some(submission));
        }
        Err(error) => error,
    };
    let reason = chain(&error);
    let given_up = error.is_permanent() || tried_long_enough(message, clock::unix());
    tracing::warn!(%id, %reason, given_up, unanswered, "not sent");
    if given_up {
        let all: Vec<_> = message.recipients.iter().map(|r| (r.clone(), reason.clone())).collect();
        let notice = not_delivered(message, &all, &bytes, unanswered);
        note(store, id, OutboxState::Failed, reason.clone(), 0, Some(notice)).await.map_err(broken)?;
    } else {
        // Once the mail server may have it, a later "not now" does not say that it has not.
        let state = if unanswered { OutboxState::Sending } else { OutboxState::Queued };
        let next_try = clock::unix() + retry_after(message.attempts);
        note(store, id, state, reason.clone(), next_try, None).await.map_err(broken)?;
    }
    if error.is_answer() { Ok(submission.is_whole().then_some(submission)) } else { Err(reason) }
}

async fn note(
    store: &StoreHandle,
    id: mail_store::OutboxId,
    state: OutboxState,
    detail: String,
    next_try: i64,
    notice: Option<Vec<u8>>,
) -> Result<(), CallError> {
    store
        .call(move |store| {
            // The notice first: killed in between, it is shown twice rather than never.
            if let (Some(notice), Some(inbox)) = (notice, store.folder_by_name("INBOX")?) {
                store.append_notice(inbox.id, &notice, clock::unix())?;
            }
            store.set_outbox_state(id, state, &detail, next_try, clock::unix())
        })
        .await
}

/// Whether a message that the mail server does not take now is given up.
fn tried_long_enough(message: &Outgoing, now: i64) -> bool {
    now - message.at > GIVE_UP_AFTER && message.attempts >= GIVE_UP_TRIES
}

/// Seconds: a quarter of a minute, doubling up to half an hour.
fn retry_after(attempts: u32) -> i64 {
    15i64.saturating_mul(1 << attempts.min(7)).min(1800)
}

/// A message from the connector itself that says what was not delivered, and holds the original.
/// `unanswered`: a try before broke off after the message was whole, so that it may have been delivered all the same.
fn not_delivered(message: &Outgoing, refused: &[(String, String)], original: &[u8], unanswered: bool) -> Vec<u8> {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let list: String =
        refused.iter().map(|(recipient, reason)| format!("  {}: {}\r\n", clean(recipient), clean(reason))).collect();
    let date = jiff::fmt::rfc2822::to_string(&clock::now().to_zoned(jiff::tz::TimeZone::UTC));
    let boundary = format!("lockstep-{:016x}", rand::random::<u64>());
    let perhaps = if unanswered {
        "An earlier try ended without an answer of the mail server: the message may have been delivered all the same.\r\n\
         Ask before you send it again.\r\n\r\n"
    } else {
        ""
    };
    let head = format!(
        "From: Lockstep connector <lockstep-connector@localhost>\r\n\
         To: <{}>\r\n\
         Subject: [Lockstep] Your message was not delivered\r\n\
         Date: {}\r\n\
         Message-ID: <{boundary}@lockstep.localhost>\r\n\
         MIME-Version: 1.0\r\n\
         Auto-Submitted: auto-generated\r\n\
         Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\
         \r\n\
         This message was written by the connector on this computer, not by anybody on the network.\r\n\
         \r\n\
         The mail server did not take your message for:\r\n\
         {list}\
         \r\n\
         {perhaps}\
         Your message is attached. Correct what is wrong and send it again.\r\n\
         --{boundary}\r\n\
         Content-Type: message/rfc822\r\n\
         \r\n",
        clean(&message.sender),
        date.unwrap_or_default(),
    );
    [head.as_bytes(), original, format!("\r\n--{boundary}--\r\n").as_bytes()].concat()
}

fn chain(error: &SubmitError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use mail_store::{BodyId, OutboxId};

    use super::*;

    #[test]
    fn what_may_have_been_delivered_says_so() {
        let refused = [("bob@example.test".to_owned(), "550 no".to_owned())];
        let text = |unanswered| not_delivered(&waiting_since_0(), &refused, b"", unanswered);
        let says = |text: Vec<u8>| String::from_utf8(text).unwrap().contains("may have been delivered all the same");
        assert!(says(text(true)) && !says(text(false)));
    }

    #[test]
    fn tries_get_rarer_but_never_stop() {
        let waits: Vec<i64> = (0..10).map(retry_after).collect();
        assert_eq!(waits, [15, 30, 60, 120, 240, 480, 960, 1800, 1800, 1800]);
    }

    #[test]
    fn a_message_that_waited_for_days_is_not_given_up_at_its_first_try() {
        let message = |attempts| Outgoing { attempts, ..waiting_since_0() };
        assert!(!tried_long_enough(&message(0), GIVE_UP_AFTER + 1));
        assert!(!tried_long_enough(&message(GIVE_UP_TRIES - 1), GIVE_UP_AFTER + 1));
        assert!(!tried_long_enough(&message(GIVE_UP_TRIES), GIVE_UP_AFTER));
        assert!(tried_long_enough(&message(GIVE_UP_TRIES), GIVE_UP_AFTER + 1));
    }

    fn waiting_since_0() -> Outgoing {
        Outgoing {
            id: OutboxId(1),
            at: 0,
            sender: "alice@example.test".into(),
            recipients: vec!["bob@example.test".into()],
            body8bit: false,
            smtputf8: false,
            body: BodyId::of(b""),
            state: OutboxState::Sending,
            detail: String::new(),
            since: 0,
            next_try: 0,
            attempts: 1,
        }
    }

    #[test]
    fn a_message_that_was_not_delivered_comes_back_whole_and_marked() {
        let message = waiting_since_0();
        let refused = [("bob@example.test".to_owned(), "550 no such user\r\nEvil: header".to_owned())];
        let notice =
            String::from_utf8(not_delivered(&message, &refused, b"Subject: hi\r\n\r\nbody\r\n", false)).unwrap();
        assert!(notice.contains("Subject: [Lockstep] Your message was not delivered\r\n"));
        assert!(notice.contains("  bob@example.test: 550 no such userEvil: header\r\n"));
        assert!(notice.contains("\r\n\r\nSubject: hi\r\n\r\nbody\r\n\r\n--lockstep-"));
    }
}
