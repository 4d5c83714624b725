//! Waiting for what is asynchronous, in a program that otherwise is not.

use std::future::Future;

use anyhow::Context;

/// Runs a future to its end on this thread.
pub fn wait<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    Ok(runtime.block_on(future))
}
