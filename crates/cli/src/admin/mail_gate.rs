//! `lockstep mail-gate`: what goes into the mail server's configuration.

use anyhow::Context;
use serde_json::Value;

use super::DataArgs;
use crate::runtime::wait;

/// Prints the lines for Dovecot. They are the server's own, so that what is printed is what works with it.
pub fn mail_gate(data: &DataArgs) -> anyhow::Result<()> {
    let server = data.server()?;
    let answer: Value = wait(server.get("/v1/admin/mail-gate"))??;
    let lines = answer["dovecot"].as_str().context("lockstep-server's answer has no lines for Dovecot")?;
    print!("{lines}");
    Ok(())
}
