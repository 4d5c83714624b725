//! The other end of the socket, for this crate's own programs.

use std::path::Path;

use lockstep_client::{ClientError, Updater};
use protocol::ipc::{Reply, Verb};

/// Asks once.
///
/// # Errors
/// [`ClientError`], but never a refusal, which is an answer.
pub async fn ask(socket: &Path, verb: Verb) -> Result<Reply, ClientError> {
    Updater::on(socket).ask(verb).await
}
