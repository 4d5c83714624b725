//! `lockstep cut-over`: announce, and watch everybody come back.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use protocol::{
    Timestamp, Version,
    message::Gate,
    product::{ProductId, parse_version},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    DataArgs, Outcome,
    client::Server,
    preflight,
    status::{self, Seat, Status},
};
use crate::{
    runtime::wait,
    terminal::{confirm, plain},
};

/// Seconds between two looks at the server.
const POLL: Duration = Duration::from_secs(1);

/// Where to, and how long to watch.
#[derive(Debug, Clone, clap::Args)]
pub struct CutOverArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Server version that the site goes to
    #[arg(long, value_parser = parse_version)]
    pub to: Version,
    /// Product whose server it is
    #[arg(long, default_value = "connector")]
    pub product: ProductId,
    /// Go on although users would be cut off, without asking
    #[arg(long)]
    pub yes: bool,
    /// Wait up to so many seconds for the server to show the version and for every connected user to be online again
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,
}

/// Shows the preflight, asks when somebody would be cut off, announces, and watches.
pub fn cut_over(args: &CutOverArgs) -> anyhow::Result<Outcome> {
    let server = args.data.server()?;
    let report = wait(preflight::fetch(&server, &args.product, &args.to))??;
    print!("{}", preflight::render(&report, Timestamp::now()));
    // To go where the server is changes nothing for anybody: it withdraws a cut-over.
    let withdraws = report.server.as_ref() == Some(&args.to);
    let question = match preflight::outcome(&report) {
        _ if withdraws => None,
        Outcome::Good => None,
        Outcome::CutOff => Some((Outcome::CutOff, users(report.summary.cut_off) + " would be cut off.")),
        Outcome::Unknown => Some((Outcome::Unknown, "Nobody can say who would be cut off.".to_owned())),
    };
    if let Some((refused, question)) = question.filter(|_| !args.yes) {
        match confirm(&format!("\n{question} Go on?"))? {
            Some(true) => {}
            Some(false) => {
                println!("Nothing was announced.");
                return Ok(refused);
            }
            None => {
                eprintln!("{question} Nothing was announced: there is no terminal to ask on. Give --yes to go on.");
                return Ok(refused);
            }
        }
    }
    // Whoever is connected now must be back in the end.
    let mut watch = Watch::new(args, &report);
    if args.wait.is_some() {
        watch.look(&wait(status::fetch(&server))??);
    }
    let body = json!({ "product": args.product, "to": args.to });
    wait(server.send::<Value>(Method::POST, "/v1/admin/cut-over", Some(&body)))??;
    if withdraws {
        println!("\nWithdrawn: the server of {} stays at {}.", args.product, args.to);
        return Ok(Outcome::Good);
    }
    println!("\nAnnounced: the server of {} goes to {}. Upgrade the server program now.", args.product, args.to);
    match args.wait {
        None => Ok(Outcome::Good),
        Some(seconds) => wait(follow(&server, watch, Duration::from_secs(seconds)))?,
    }
}

fn users(n: u64) -> String {
    if n == 1 { "1 user".into() } else { format!("{n} users") }
}

/// Looks until it is over or time is up.
async fn follow(server: &Server, mut watch: Watch, limit: Duration) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let bar = ProgressBar::new_spinner().with_style(style());
    loop {
        let progress = match status::fetch(server).await {
            Ok(status) => watch.look(&status),
            // The server may be restarting right now: it is asked again until time is up.
            Err(error) => Progress { done: false, text: format!("{error:#}"), away: Vec::new() },
        };
        let seconds = began.elapsed().as_secs();
        if progress.done || began.elapsed() >= limit {
            bar.finish_and_clear();
            println!("{} after {seconds} s: {}.", if progress.done { "Done" } else { "Not done" }, progress.text);
            progress.away.iter().for_each(|line| println!("  {line}"));
            let everybody = progress.done && progress.away.is_empty();
            return Ok(if everybody { Outcome::Good } else { Outcome::CutOff });
        }
        bar.set_message(progress.text);
        bar.tick();
        tokio::time::sleep(POLL.min(limit)).await;
    }
}

/// Who is waited for.
struct Watch {
    product: ProductId,
    to: Version,
    /// Users and PCs of which the preflight said that they would be cut off: they are not waited for.
    foreseen: BTreeSet<(Option<String>, Option<String>)>,
    /// Seats that were connected at some time. A program that restarts for its upgrade is not, for a moment.
    expected: BTreeSet<String>,
}

/// How far a cut-over has come.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    /// The server shows the version, and all who are waited for are online.
    done: bool,
    text: String,
    /// Those who are not online, a line each.
    away: Vec<String>,
}

impl Watch {
    fn new(args: &CutOverArgs, report: &preflight::Report) -> Self {
        let cut_off = report.rows.iter().filter(|r| r.readiness.is_cut_off());
        Self {
            product: args.product.clone(),
            to: args.to.clone(),
            foreseen: cut_off.map(|r| (r.user.clone(), Some(r.pc.clone()))).collect(),
            expected: BTreeSet::new(),
        }
    }

    fn look(&mut self, status: &Status) -> Progress {
        let ours = |s: &&Seat| s.product.as_ref().is_none_or(|p| *p == self.product);
        let seats: Vec<_> = status.seats.iter().filter(ours).collect();
        self.expected.extend(seats.iter().filter(|s| s.connected).map(|s| s.seat.clone()));
        let shown = status.products.iter().find(|p| p.product == self.product).and_then(|p| p.server.as_ref());
        if shown != Some(&self.to) {
            let shown = shown.map_or("no version".into(), Version::to_string);
            let text = format!("the server shows {shown}, not {} yet", self.to);
            return Progress { done: false, text, away: Vec::new() };
        }
        let expected: Vec<_> = seats.iter().filter(|s| self.expected.contains(&s.seat)).collect();
        let away: Vec<_> = expected.iter().filter(|s| !(s.connected && s.gate == Some(Gate::Online))).collect();
        let foreseen = |s: &Seat| self.foreseen.contains(&(s.user.clone(), s.pc.clone()));
        Progress {
            done: away.iter().all(|s| foreseen(s)),
            text: format!(
                "the server is {}, {} of {} connected users are online",
                self.to,
                expected.len() - away.len(),
                expected.len()
            ),
            away: away.iter().map(|s| line(s)).collect(),
        }
    }
}

fn line(seat: &Seat) -> String {
    let name = |text: &Option<String>| text.as_deref().map_or("?".into(), plain);
    let version = seat.version.as_ref().map_or("?".into(), |v| plain(&v.to_string()));
    let how = if seat.connected { "" } else { "not connected; " };
    format!("{} on {}: runs {version}, {how}{}", name(&seat.user), name(&seat.pc), plain(&seat.detail))
}

fn style() -> ProgressStyle {
    // The template is a constant; should it ever be wrong, the plain spinner will do.
    ProgressStyle::with_template("{spinner} {elapsed} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(id: &str, connected: bool, gate: Option<&str>) -> Value {
        json!({ "seat": id, "user": format!("{id}@example.test"), "pc": id, "product": "connector", "version": "7.2.0",
                "gate": gate, "connected": connected, "detail": "waiting" })
    }

    fn status(server: &str, seats: Vec<Value>) -> Status {
        let products = json!([{ "product": "connector", "server": server }]);
        serde_json::from_value(json!({ "products": products, "seats": seats })).unwrap()
    }

    fn watch(foreseen: &[&str]) -> Watch {
        Watch {
            product: ProductId::connector(),
            to: Version::new(7, 3, 0),
            foreseen: foreseen.iter().map(|id| (Some(format!("{id}@example.test")), Some((*id).into()))).collect(),
            expected: BTreeSet::new(),
        }
    }

    #[test]
    fn it_is_not_over_while_a_program_restarts_and_is_not_connected() {
        let mut watch = watch(&[]);
        assert!(!watch.look(&status("7.2.0", vec![seat("a", true, Some("online"))])).done);
        assert!(!watch.look(&status("7.3.0", vec![seat("a", true, Some("upgrading"))])).done);
        let restarting = watch.look(&status("7.3.0", vec![seat("a", false, Some("online"))]));
        assert_eq!((restarting.done, restarting.away.len()), (false, 1));
        assert!(watch.look(&status("7.3.0", vec![seat("a", true, Some("online"))])).done);
    }

    #[test]
    fn nobody_waits_for_those_who_were_foreseen_or_were_never_there() {
        let mut watch = watch(&["b"]);
        let seats = vec![seat("a", true, Some("online")), seat("b", true, Some("offline")), seat("c", false, None)];
        let progress = watch.look(&status("7.3.0", seats));
        assert!(progress.done);
        assert_eq!(progress.away, ["b@example.test on b: runs 7.2.0, waiting"]);
        assert!(progress.text.ends_with("1 of 2 connected users are online"), "{}", progress.text);
    }

    #[test]
    fn a_server_that_shows_another_version_is_not_there_yet() {
        let progress = watch(&[]).look(&status("7.2.0", vec![]));
        assert_eq!((progress.done, progress.text.as_str()), (false, "the server shows 7.2.0, not 7.3.0 yet"));
    }
}
