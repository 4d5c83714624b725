//! Changing a switch, and what follows from it.

use crate::{app::App, failure::Refusal, switches::Switch};

/// Changes a switch, in `server.toml` first. Readiness reports that are switched off take every stored name with them.
///
/// # Errors
/// 500; the file is then as it was, or the names are still to be wiped, which the next start does.
pub async fn set(app: &App, switch: Switch, on: bool) -> Result<(), Refusal> {
    let nobody_stores_names = app.switches.nobody_stores_names().await;
    app.switches.set(switch, on).await.map_err(Refusal::internal)?;
    if switch == Switch::Readiness {
        if !on {
            app.store.forget_names().await?;
        }
        drop(nobody_stores_names);
        // With it on again, the next check-ins bring the names back.
        app.push.announce(if on { "readiness reports are on" } else { "readiness reports are off" });
    }
    Ok(())
}
