//! `lockstep policy`, `lockstep hold`, `lockstep retry`: when and how PCs upgrade, and what they do not install.

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use protocol::{
    Timestamp, Version,
    hold::Hold,
    product::{ProductId, parse_version},
    window::Window,
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::DataArgs;
use crate::{runtime::wait, terminal::plain};

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Show what is in force
    #[command(after_help = "Examples:\n  lockstep policy show\n  lockstep policy show --json | jq .products")]
    Show(ShowArgs),
    /// Change it; what is not named stays as it is
    #[command(after_help = "Examples:\n  lockstep policy set --upgrade ask-must-accept --deadline 48h\n  \
        lockstep policy set --downgrade never\n  \
        lockstep policy set --maintenance 'Sat 02:00-05:00' --maintenance 'Mon-Fri 22:00-23:30' --time-zone Europe/Prague\n  \
        lockstep policy set --no-maintenance\n\n\
        Maintenance windows bind recommended upgrades: they are made ready at once and activated in a window. With\n\
        --maintenance-for all they bind required ones too, whose users stay cut off until a window or the deadline.\n\
        A computer's own updater.toml goes before all of this, and the vendor's signed limits before that.")]
    Set(Box<SetArgs>),
}

/// What to show.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    data: DataArgs,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// The six upgrade policies.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Upgrade {
    /// Ask; the user may refuse, until it is necessary and the deadline has passed
    Ask,
    /// Ask; the user may choose the moment, until the deadline
    AskMustAccept,
    /// At once, without asking
    Silent,
    /// At the program's next start, never while the mail program runs
    SilentAtStart,
    /// Only if necessary, and then ask
    NecessaryAsk,
    /// Only if necessary, and then without asking
    NecessarySilent,
}

/// The downgrade policies.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Downgrade {
    /// Ask; the user may choose the moment, until the deadline
    Ask,
    /// At once, without asking
    Silent,
    /// Never: PCs stay where they are, cut off if need be
    Never,
}

/// What windows bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Binds {
    /// What the server can do without
    Recommended,
    /// Required upgrades too
    All,
}

/// What to change.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true, id = "change")]
pub struct Changes {
    /// How upgrades are carried out
    #[arg(long)]
    upgrade: Option<Upgrade>,
    /// How permitted downgrades are carried out
    #[arg(long)]
    downgrade: Option<Downgrade>,
    /// A weekly window, such as 'Sat 02:00-05:00'; repeat it for more. They replace those before
    #[arg(long, value_name = "WINDOW")]
    maintenance: Vec<Window>,
    /// No windows: at any time
    #[arg(long, conflicts_with = "maintenance")]
    no_maintenance: bool,
    /// The windows' time zone, such as Europe/Prague; 'local' is each computer's own
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What the windows bind
    #[arg(long, value_name = "WHAT")]
    maintenance_for: Option<Binds>,
    /// How long users may put off what is necessary once they are asked, such as 48h, 7d or 30min
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    deadline: Option<u32>,
}

/// What to change, and where.
#[derive(Debug, Clone, Args)]
pub struct SetArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Product that it is about
    #[arg(long, default_value = "connector")]
    product: ProductId,
    #[command(flatten)]
    changes: Changes,
    /// Print the policy then in force as JSON
    #[arg(long)]
    json: bool,
}

/// What to do with holds.
#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Hold something
    #[command(
        after_help = "Examples:\n  lockstep hold add connector --why 'month-end closing' --until 2026-12-04T06:00:00Z\n  \
        lockstep hold add 'connector 7.3.1' --why 'printing breaks'\n  lockstep hold add 'connector >=7.4' --pc 'lab-*' --pc kiosk-3\n\n\
        A group of PCs is named by a pattern of their host names, or one by one; a device's id is exact. PCs that need a held\n\
        version to work with the server are cut off: `lockstep preflight` says so beforehand."
    )]
    Add(AddArgs),
    /// Take a hold back
    #[command(after_help = "Example:\n  lockstep hold remove 'connector 7.3.1'")]
    Remove(RemoveArgs),
    /// Show what is held
    #[command(after_help = "Examples:\n  lockstep hold list\n  lockstep hold list --json")]
    List(ShowArgs),
}

/// What to hold.
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    #[command(flatten)]
    data: DataArgs,
    /// A product, or a product and versions: connector, 'connector 7.3.1', 'connector >=7.3, <7.4', '*'
    what: Hold,
    /// Only on this PC: a host name, in which * stands for anything, or a device's id; repeat it for more
    #[arg(long, value_name = "PC")]
    pc: Vec<String>,
    /// Until then, as 2026-12-04T06:00:00Z
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Why, for everybody who asks
    #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
    why: String,
}

/// What to take back.
#[derive(Debug, Clone, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    data: DataArgs,
    /// As it was held
    what: Hold,
}

/// What to try again.
#[derive(Debug, Clone, Args)]
pub struct RetryArgs {
    #[command(flatten)]
    data: DataArgs,
    /// A user, a PC's host name (* stands for anything), or a device's id
    whom: String,
    /// The version that was rolled back
    #[arg(value_parser = parse_version)]
    version: Version,
    /// Product that it is a version of
    #[arg(long, default_value = "connector")]
    product: ProductId,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Policies {
    products: Vec<Policy>,
}

#[derive(Deserialize)]
struct Policy {
    product: ProductId,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    holds: Vec<protocol::hold::SiteHold>,
}

/// Shows or changes policies.
pub fn policy(command: &PolicyCommand) -> anyhow::Result<()> {
    match command {
        PolicyCommand::Show(args) => {
            let answer = fetch(&args.data)?;
            if args.json {
                return json_out(&answer);
            }
            for policy in serde_json::from_value::<Policies>(answer)?.products {
                show(&policy);
            }
            Ok(())
        }
        PolicyCommand::Set(args) => {
            let body = change(&args.product, &args.changes);
            let answer: Value = wait(args.data.server()?.send(Method::PUT, "/v1/admin/policy", Some(&body)))??;
            if args.json {
                return json_out(&answer);
            }
            show(&serde_json::from_value(answer)?);
            Ok(())
        }
    }
}

/// Adds, takes back or shows holds.
pub fn hold(command: &HoldCommand) -> anyhow::Result<()> {
    match command {
        HoldCommand::Add(args) => {
            let pcs = (!args.pc.is_empty()).then_some(&args.pc);
            let body = json!({ "what": args.what, "pcs": pcs, "until": args.until, "reason": args.why });
            wait(args.data.server()?.send::<Value>(Method::POST, "/v1/admin/holds", Some(&body)))??;
            println!("{} is held; see lockstep preflight for who would be cut off by it.", args.what);
        }
        HoldCommand::Remove(args) => {
            let body = json!({ "what": args.what, "remove": true });
            wait(args.data.server()?.send::<Value>(Method::POST, "/v1/admin/holds", Some(&body)))??;
            println!("{} is no longer held.", args.what);
        }
        HoldCommand::List(args) => {
            let policies: Policies = serde_json::from_value(fetch(&args.data)?)?;
            let holds: Vec<_> = policies.products.iter().flat_map(|p| &p.holds).collect();
            if args.json {
                return json_out(&serde_json::to_value(holds)?);
            }
            if holds.is_empty() {
                println!("Nothing is held.");
            }
            for hold in holds {
                let pcs = hold.pcs.as_ref().map_or(String::new(), |pcs| format!(", on {}", pcs.join(" ")));
                println!("{}{}", plain(&hold.words()), plain(&pcs));
            }
        }
    }
    Ok(())
}

/// Has a version tried again.
pub fn retry(args: &RetryArgs) -> anyhow::Result<()> {
    let body = json!({ "whom": args.whom, "version": args.version, "product": args.product });
    let answer: Value = wait(args.data.server()?.send(Method::POST, "/v1/admin/retry", Some(&body)))??;
    if args.json {
        return json_out(&answer);
    }
    let pcs: Vec<_> = answer["pcs"].as_array().into_iter().flatten().filter_map(Value::as_str).map(plain).collect();
    println!("{} {} is tried again on {}.", args.product, args.version, pcs.join(", "));
    Ok(())
}

fn fetch(data: &DataArgs) -> anyhow::Result<Value> {
    wait(data.server()?.get("/v1/admin/policy"))?
}

fn show(policy: &Policy) {
    println!("{}", policy.product);
    policy.words.iter().for_each(|line| println!("  {}", plain(line)));
}

fn json_out(value: &Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn change(product: &ProductId, changes: &Changes) -> Value {
    let mut body = Map::from_iter([("product".to_owned(), json!(product))]);
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|v| v.get_name().to_owned());
    if let Some(upgrade) = changes.upgrade {
        put("upgrade", json!(name(upgrade.to_possible_value())));
    }
    if let Some(downgrade) = changes.downgrade {
        put("downgrade", json!(name(downgrade.to_possible_value())));
    }
    if !changes.maintenance.is_empty() || changes.no_maintenance {
        put("maintenance", json!(changes.maintenance));
    }
    if let Some(zone) = &changes.time_zone {
        put("time_zone", if zone == "local" { Value::Null } else { json!(zone) });
    }
    if let Some(binds) = changes.maintenance_for {
        put("required_too", json!(binds == Binds::All));
    }
    if let Some(seconds) = changes.deadline {
        put("deadline_seconds", json!(seconds));
    }
    Value::Object(body)
}

/// `48h`, `7d`, `30min`, `90s`.
fn seconds(text: &str) -> anyhow::Result<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => bail!("write a time as 48h, 7d, 30min or 90s"),
    };
    match text[..digits].parse::<u32>().ok().and_then(|n| n.checked_mul(unit)) {
        Some(seconds) => Ok(seconds),
        None => bail!("write a time as 48h, 7d, 30min or 90s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [("48h", 172_800), ("7d", 604_800), ("30min", 1800), ("90 s", 90)] {
            assert_eq!(seconds(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "h", "soon", "5", "99999999999d", "5000000h"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
