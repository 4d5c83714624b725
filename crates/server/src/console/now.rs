//! What the first page begins with: who is cut off now, and which PCs report trouble.

use jiff::tz::TimeZone;

use super::moment::{Moment, moment};
use crate::{
    app::App,
    cut_off::{CutOff, Trouble},
    preflight::{Facts, state_name},
};

/// Who is cut off, as the page shows it.
#[derive(Debug)]
pub struct CutOffLine {
    pub user: String,
    pub nobody: bool,
    pub pc: String,
    pub link: String,
    pub gate: String,
    pub class: &'static str,
    pub since: Moment,
    pub why: String,
    pub then: String,
    pub detail: String,
    pub outbox: u64,
}

/// A PC with trouble, as the page shows it.
#[derive(Debug)]
pub struct TroubleLine {
    pub pc: String,
    pub link: String,
    pub product: String,
    pub class: &'static str,
    pub verdict: String,
    pub detail: String,
    pub last_seen: Moment,
}

/// Both tables, and how many are not heard of.
pub fn lines_of(facts: &Facts, zone: &TimeZone) -> (Vec<CutOffLine>, usize, Vec<TroubleLine>) {
    let (cut_off, silent) = facts.cut_off_now();
    let cut_off = cut_off.into_iter().map(|c| cut_off_line(c, zone)).collect();
    (cut_off, silent, facts.troubles().into_iter().map(|t| trouble_line(t, zone)).collect())
}

/// What the mail server has asked; nothing where there is no gate.
pub fn gate_line(app: &App) -> Option<String> {
    app.config.mail_gate.listen?;
    let counts = app.mail_gate.notes.counts();
    let Some(last) = counts.last_asked else {
        return Some(
            "the mail server has not asked since the start; lockstep mail-gate prints what it needs for that".into(),
        );
    };
    let last = moment(last, &app.zone).people;
    let refused =
        counts.last_refused.map(|at| format!(", last on {}", moment(at, &app.zone).people)).unwrap_or_default();
    Some(format!(
        "{} logins asked about since the start, last on {last}; {} refused{refused}",
        counts.asked, counts.refused
    ))
}

fn cut_off_line(c: CutOff, zone: &TimeZone) -> CutOffLine {
    let gate = c.gate_name();
    CutOffLine {
        class: if gate == "upgrading" { "ask" } else { "bad" },
        gate,
        nobody: c.user.is_none(),
        user: c.user.unwrap_or_else(|| "name not stored".into()),
        pc: if c.pc.is_empty() { "unnamed".into() } else { c.pc },
        link: format!("/console/pc/{}", c.subject),
        since: moment(c.since, zone),
        why: c.why,
        then: c.then,
        detail: c.detail.unwrap_or_default(),
        outbox: c.outbox,
    }
}

fn trouble_line(t: Trouble, zone: &TimeZone) -> TroubleLine {
    TroubleLine {
        pc: if t.pc.is_empty() { "unnamed".into() } else { t.pc },
        link: format!("/console/pc/{}", t.subject),
        product: t.product.to_string(),
        class: if t.trust { "bad" } else { "ask" },
        verdict: if t.trust { "not trusted".into() } else { state_name(t.state) },
        detail: t.detail,
        last_seen: moment(t.last_seen, zone),
    }
}
