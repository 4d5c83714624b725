//! The machine-level rule: can the new version run here at all?
//!
//! The program's own self-check, with the arguments of the signed manifest, must end with exit code 0 in time. It runs without
//! rights and learns nothing from the service's environment. No user has a say in it.

use std::{io, path::Path, process::ExitStatus, time::Duration};

use crate::platform;

/// What is wrong with a program, in words.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("its self-check did not end within {} seconds", .0.as_secs())]
    Late(Duration),
    #[error("its program cannot be started: {0}")]
    Start(io::Error),
    #[error("its self-check cannot be watched: {0}")]
    Watch(io::Error),
    #[error("its self-check failed ({0})")]
    Failed(ExitStatus),
}

/// Runs a program's self-check. `Err` says in words what is wrong with it. One that is late gets twice more time, and twice
/// that again: a user who keeps the computer busy must not make a good version look broken.
///
/// # Errors
/// The reason for people.
pub async fn check_patiently(program: &Path, arguments: &[String], limit: Duration) -> Result<(), String> {
    for limit in [limit, limit * 2] {
        match once(program, arguments, limit).await {
            Err(late @ Unfit::Late(_)) => tracing::warn!(reason = %late, "checking once more, with more time"),
            other => return other.map_err(|unfit| unfit.to_string()),
        }
    }
    check(program, arguments, limit * 4).await
}

/// Runs a program's self-check once. `Err` says in words what is wrong with it.
///
/// # Errors
/// The reason for people.
pub async fn check(program: &Path, arguments: &[String], limit: Duration) -> Result<(), String> {
    once(program, arguments, limit).await.map_err(|unfit| unfit.to_string())
}

async fn once(program: &Path, arguments: &[String], limit: Duration) -> Result<(), Unfit> {
    let mut child = platform::Unprivileged::start(program, arguments).map_err(Unfit::Start)?;
    let ended = tokio::time::timeout(limit, child.wait()).await;
    // Also what it may have started.
    child.end();
    match ended {
        Err(_) => {
            // Reaped here, so that no dead process is left behind; it was just killed.
            drop(child.wait().await);
            Err(Unfit::Late(limit))
        }
        Ok(Err(error)) => Err(Unfit::Watch(error)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Unfit::Failed(status)),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(15);

    async fn sh(script: &str, limit: Duration) -> Result<(), String> {
        check(Path::new("/bin/sh"), &["-c".into(), script.into()], limit).await
    }

    #[tokio::test]
    async fn only_exit_code_0_in_time_is_healthy() {
        assert!(sh("exit 0", LIMIT).await.is_ok());
        assert!(sh("exit 7", LIMIT).await.unwrap_err().contains('7'));
        assert!(sh("sleep 60", Duration::from_millis(200)).await.unwrap_err().contains("within"));
        let script = "sleep 0.5; exit 0".to_owned();
        let slow = ["-c".into(), script];
        assert!(check(Path::new("/bin/sh"), &slow, Duration::from_millis(100)).await.is_err());
        check_patiently(Path::new("/bin/sh"), &slow, Duration::from_millis(400)).await.unwrap();
        assert!(check(Path::new("/nowhere"), &[], LIMIT).await.unwrap_err().contains("cannot be started"));
    }

    #[tokio::test]
    async fn it_runs_without_rights_and_without_our_environment() {
        assert!(platform::is_root(), "this test drops rights, so it must run as root");
        let script = r#"[ "$(/usr/bin/id -u):$(/usr/bin/id -g):$(/usr/bin/id -G)" = 65534:65534:65534 ] &&
            [ "$PWD" = / ] && [ -z "$HOME$CARGO_MANIFEST_DIR$USER" ]"#;
        sh(script, LIMIT).await.unwrap();
    }
}
