//! The machine-level rule: can the new version run here at all?
//!
//! The program's own self-check, with the arguments of the signed manifest, must end with exit code 0 in time. It runs without
//! rights and learns nothing from the service's environment. No user has a say in it.

use std::{path::Path, time::Duration};

use crate::platform;

/// The time that a self-check may take.
pub const LIMIT: Duration = Duration::from_secs(15);

/// Runs a program's self-check. `Err` says in words what is wrong with it.
///
/// # Errors
/// The reason for people.
pub async fn check(program: &Path, arguments: &[String], limit: Duration) -> Result<(), String> {
    let mut child = platform::unprivileged(program, arguments)
        .spawn()
        .map_err(|e| format!("its program cannot be started: {e}"))?;
    let leader = child.id();
    let ended = tokio::time::timeout(limit, child.wait()).await;
    // Also what it may have started.
    if let Some(leader) = leader {
        platform::kill_group(leader);
    }
    match ended {
        Err(_) => {
            // Reaped here, so that no dead process is left behind; it was just killed.
            drop(child.wait().await);
            Err(format!("its self-check did not end within {} seconds", limit.as_secs()))
        }
        Ok(Err(error)) => Err(format!("its self-check cannot be watched: {error}")),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("its self-check failed ({status})")),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    async fn sh(script: &str, limit: Duration) -> Result<(), String> {
        check(Path::new("/bin/sh"), &["-c".into(), script.into()], limit).await
    }

    #[tokio::test]
    async fn only_exit_code_0_in_time_is_healthy() {
        assert!(sh("exit 0", LIMIT).await.is_ok());
        assert!(sh("exit 7", LIMIT).await.unwrap_err().contains('7'));
        assert!(sh("sleep 60", Duration::from_millis(200)).await.unwrap_err().contains("within"));
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
