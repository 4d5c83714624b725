//! Small orders to the server.

use anyhow::bail;
use protocol::{
    Version,
    product::{ProductId, parse_version},
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DataArgs, Outcome};
use crate::{
    runtime::wait,
    terminal::{plain, plain_within},
};

/// A switch of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SettingName {
    /// Keep and show who is ready for an upgrade
    Readiness,
    /// Allow anonymous usage statistics to be sent to the vendor
    Statistics,
}

/// The two states of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnOff {
    On,
    Off,
}

/// Which switch, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct SettingArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// The switch
    pub name: SettingName,
    /// Where to turn it
    pub state: OnOff,
}

/// The version that the running server program reports, told by hand or by a package hook.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerVersionArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// The version
    #[arg(value_parser = parse_version)]
    pub version: Version,
    /// Product whose server it is
    #[arg(long, default_value = "connector")]
    pub product: ProductId,
}

/// When to warn.
#[derive(Debug, Clone, clap::Args)]
pub struct WarnArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Write the warning log now, not at its hour
    #[arg(long, required = true)]
    pub now: bool,
}

#[derive(Deserialize)]
struct Warned {
    #[serde(default)]
    affected: Vec<String>,
    #[serde(default)]
    report: Option<String>,
    #[serde(default)]
    why_unknown: Option<String>,
    #[serde(default)]
    log: Option<String>,
}

/// Turns a switch.
pub fn set(args: &SettingArgs) -> anyhow::Result<()> {
    let name = match args.name {
        SettingName::Readiness => "readiness",
        SettingName::Statistics => "statistics",
    };
    let on = args.state == OnOff::On;
    let server = args.data.server()?;
    let path = format!("/v1/admin/settings/{name}");
    wait(server.send::<Value>(Method::PUT, &path, Some(&json!({ "on": on }))))??;
    println!("{name} is {}.", if on { "on" } else { "off" });
    Ok(())
}

/// Tells the server's version.
pub fn set_server_version(args: &ServerVersionArgs) -> anyhow::Result<()> {
    let server = args.data.server()?;
    let body = json!({ "product": args.product, "version": args.version });
    wait(server.send::<Value>(Method::POST, "/v1/admin/server-version", Some(&body)))??;
    println!("The server of {} is {} now; everybody is told.", args.product, args.version);
    Ok(())
}

/// Has the warning log written.
pub fn warn(args: &WarnArgs) -> anyhow::Result<Outcome> {
    if !args.now {
        bail!("the server warns at its hour by itself; give --now to have it done now");
    }
    let server = args.data.server()?;
    let warned: Warned = wait(server.send(Method::POST, "/v1/admin/warn", None::<&()>))??;
    if let Some(why) = &warned.why_unknown {
        println!("Cannot know whom to warn about: {}", plain(why));
        return Ok(Outcome::Unknown);
    }
    let Some(report) = &warned.report else {
        println!("Nobody to warn about.");
        return Ok(Outcome::Good);
    };
    report.lines().for_each(|line| println!("{}", plain_within(line, 4000)));
    if !warned.affected.is_empty() {
        let users: Vec<_> = warned.affected.iter().map(|u| plain(u)).collect();
        println!("Affected: {}", users.join(", "));
    }
    if let Some(log) = &warned.log {
        println!("Logged in {}", plain(log));
    }
    Ok(Outcome::Good)
}

/// Has the vendor's repository mirrored now.
pub fn refresh(data: &DataArgs) -> anyhow::Result<()> {
    let server = data.server()?;
    wait(server.send::<Value>(Method::POST, "/v1/admin/refresh", None::<&()>))??;
    println!("The vendor's repository is mirrored.");
    Ok(())
}
