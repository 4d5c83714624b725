//! The connection that waits in INBOX and tells the working one when something happens there.

use std::{convert::Infallible, time::Duration};

use super::InboxNews;
use crate::{
    backoff::{Backoff, draw},
    upstream::{
        connection::ImapError,
        session::{Login, Session},
    },
};

/// A server may drop a client that idles for half an hour (RFC 2177); a dead line is found out this soon, too.
const LONGEST: Duration = Duration::from_secs(9 * 60);

/// Waits for ever. Its own failures only cost speed, since INBOX is looked at in every full pass too.
pub(super) async fn watch(login: &Login, inbox: &InboxNews) -> Infallible {
    inbox.ready.notified().await;
    let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(120));
    loop {
        let Err(error) = wait_in_inbox(login, inbox, &mut backoff).await;
        tracing::info!(%error, "the connection that waits for new mail ended");
        // If the mail server is gone, the working connection, which only speaks when it has work, finds out now.
        inbox.tell();
        tokio::time::sleep(backoff.next(draw())).await;
    }
}

async fn wait_in_inbox(login: &Login, inbox: &InboxNews, backoff: &mut Backoff) -> Result<Infallible, ImapError> {
    let mut session = Session::open(login).await?;
    session.select("INBOX").await?;
    let opened = tokio::time::Instant::now();
    // What came between the last look and this moment would otherwise wait for the next full pass.
    inbox.tell();
    loop {
        match session.wait_for_news(LONGEST).await {
            Ok(true) => inbox.tell(),
            Ok(false) => {}
            Err(error) => {
                backoff.worked_for(opened.elapsed());
                return Err(error);
            }
        }
    }
}
