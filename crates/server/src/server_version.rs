//! Learning the version that each product's server runs, from the one source that the configuration names.

mod read;

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use protocol::{Version, product::ProductId};
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

use crate::{
    app::App,
    config::{SourceKind, VersionSource},
    failure::chain,
    mail_gate,
    site::Change,
    store::StoreError,
};
pub use read::first_version;

/// Bytes of an answer that are looked at.
const MAX_ANSWER: u64 = 64 * 1024;

/// How often a source is asked while a cut-over is under way: people are cut off until it shows the new version.
const CUT_OVER_NAP: Duration = Duration::from_millis(500);

/// Why the version could not be learnt this time. The last one known still counts.
#[derive(Debug, thiserror::Error)]
pub enum SourceFailure {
    /// The program cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The first word of the probe.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The program says that it failed.
    #[error("{program} ended with {status}")]
    Failed {
        /// The first word of the probe.
        program: String,
        /// Exit code or signal.
        status: std::process::ExitStatus,
    },
    /// The address does not answer.
    #[error("the version's address does not answer")]
    Web(#[from] reqwest::Error),
    /// It took too long.
    #[error("there was no answer within {} seconds", .0.as_secs_f32())]
    TooSlow(Duration),
    /// There is no version in the answer.
    #[error("there is no version in the answer {0:?}")]
    NoVersion(String),
}

/// Asks a product's source again and again, until the server stops.
pub async fn follow(app: App, product: ProductId, source: VersionSource) {
    let mut failing = false;
    loop {
        match ask(&source, &app.http).await {
            Ok(None) => return,
            Ok(Some(version)) => {
                failing = false;
                app.set_problem(&format!("version of {product}'s server"), None);
                if let Err(error) = shows(&app, &product, &version).await {
                    tracing::error!(error = chain(&error), %product, "the server's version cannot be stored");
                }
            }
            Err(error) => {
                let text = chain(&error);
                if !failing {
                    tracing::warn!(error = text, %product, "the server's version cannot be learnt");
                }
                failing = true;
                app.set_problem(&format!("version of {product}'s server"), Some(text));
            }
        }
        if nap(&app, &product, source.every.get()).await {
            return;
        }
    }
}

/// Waits until the source is due again, less long while a cut-over is under way; `true` when the server stops.
async fn nap(app: &App, product: &ProductId, every: Duration) -> bool {
    let due = Instant::now() + every;
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if app.stopping(left.min(CUT_OVER_NAP)).await {
            return true;
        }
        if left <= CUT_OVER_NAP || app.site.expected(product).is_some() {
            return false;
        }
    }
}

/// A source shows a version: it is stored, told, and pushed when it is new.
///
/// # Errors
/// [`StoreError`].
pub async fn shows(app: &App, product: &ProductId, version: &Version) -> Result<Change, StoreError> {
    let change = app.site.source_shows(&app.store, product, version, app.now()).await?;
    if change != Change::None {
        mail_gate::server_flipped(app, product);
        app.push.announce(format!("the {product}'s server has version {version}"));
    }
    Ok(change)
}

/// Asks once. `None`: there is nobody to ask, somebody tells us.
///
/// # Errors
/// [`SourceFailure`].
pub async fn ask(source: &VersionSource, http: &reqwest::Client) -> Result<Option<Version>, SourceFailure> {
    let limit = source.timeout.get();
    let asking = async {
        match &source.kind {
            SourceKind::Pushed => Ok(None),
            SourceKind::Probe(argv) => run(argv).await.map(Some),
            SourceKind::Url(url) => fetch(http, url.as_str()).await.map(Some),
        }
    };
    let Some(answer) = timeout(limit, asking).await.map_err(|_elapsed| SourceFailure::TooSlow(limit))?? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&answer);
    match first_version(&text) {
        Some(version) => Ok(Some(version)),
        None => Err(SourceFailure::NoVersion(text.trim().chars().take(80).collect())),
    }
}

/// Without a shell: the configuration's words are the arguments, as they are. It dies with its deadline.
async fn run(argv: &[String]) -> Result<Vec<u8>, SourceFailure> {
    let (program, arguments) = argv.split_first().map_or(("", argv), |(p, a)| (p.as_str(), a));
    let failed = |source| SourceFailure::Run { program: program.to_owned(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(failed)?;
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() { Ok(answer) } else { Err(SourceFailure::Failed { program: program.to_owned(), status }) }
}

async fn fetch(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, SourceFailure> {
    let mut response = http.get(url).send().await?.error_for_status()?;
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        answer.extend_from_slice(&chunk);
        if answer.len() as u64 >= MAX_ANSWER {
            break;
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(argv: &[&str], timeout: u64) -> VersionSource {
        VersionSource {
            kind: SourceKind::Probe(argv.iter().map(|a| (*a).to_owned()).collect()),
            every: crate::config::Interval::from_seconds(5),
            timeout: crate::config::Interval::from_seconds(timeout),
        }
    }

    async fn asked(source: VersionSource) -> Result<Option<Version>, SourceFailure> {
        crate::tls::install_provider();
        ask(&source, &reqwest::Client::new()).await
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_probe_is_run_without_a_shell() {
        let shown = asked(probe(&["/bin/echo", "mail 7.2.0;", "$(touch /nonexistent)"], 5)).await.unwrap();
        assert_eq!(shown, Some(Version::new(7, 2, 0)));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_probe_that_hangs_fails_or_is_missing_is_told_apart() {
        assert!(matches!(asked(probe(&["/bin/sleep", "60"], 1)).await, Err(SourceFailure::TooSlow(_))));
        assert!(matches!(asked(probe(&["/bin/false"], 5)).await, Err(SourceFailure::Failed { .. })));
        assert!(matches!(asked(probe(&["/nonexistent/x"], 5)).await, Err(SourceFailure::Run { .. })));
        assert!(matches!(asked(probe(&["/bin/echo", "soon"], 5)).await, Err(SourceFailure::NoVersion(_))));
    }
}
