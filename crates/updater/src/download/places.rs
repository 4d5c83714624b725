//! Where packages may be, and which place is asked first. Time and chance come in as parameters.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use protocol::message::MAX_ALTERNATE;
use reqwest::Url;

use crate::settings::download::is_directory;

/// A place that failed is asked last for this long; doubled with each failure.
const FIRST_REST: Duration = Duration::from_secs(60);
/// The longest rest; also that of a place that sends other bytes than signed.
const LONGEST_REST: Duration = Duration::from_secs(6 * 3600);

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The site's own mirror.
    Mirror,
    /// A directory that holds what the mirror's directory of targets holds.
    Elsewhere(Url),
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    /// In a row.
    times: u32,
    until: Instant,
}

/// All places, and what is remembered of them while the service runs.
#[derive(Debug)]
pub struct Places {
    machine: Vec<Url>,
    site: Vec<Url>,
    failures: HashMap<Origin, Failure>,
}

impl Places {
    /// The places that this PC's administrator named, and the mirror.
    pub fn new(machine: Vec<Url>) -> Self {
        Self { machine, site: Vec::new(), failures: HashMap::new() }
    }

    /// The places that the site names, in place of those that it named before.
    pub fn alternate(&mut self, named: &[String]) {
        let https = |text: &String| Url::parse(text).ok().filter(|url| url.scheme() == "https" && is_directory(url));
        let site: Vec<Url> = named.iter().take(MAX_ALTERNATE).filter_map(https).collect();
        if site != self.site {
            tracing::info!(places = ?site.iter().map(Url::as_str).collect::<Vec<_>>(), "the site names other places for packages");
            self.site = site;
            let known = self.all();
            self.failures.retain(|origin, _| known.contains(origin));
        }
    }

    /// All places, the one to ask first first: those that have not failed lately as they were named, then the others, whose rest
    /// ends soonest first.
    pub fn order(&self, now: Instant) -> Vec<Origin> {
        let mut order = self.all();
        let rest = |origin: &Origin| self.failures.get(origin).map(|f| f.until).filter(|until| *until > now);
        // Stable, and `None` comes before every time.
        order.sort_by_key(rest);
        order
    }

    /// A place has sent what was signed.
    pub fn worked(&mut self, origin: &Origin) {
        self.failures.remove(origin);
    }

    /// A place has failed, or even `lied`. `draw` (0 to 1) spreads the end of its rest.
    pub fn failed(&mut self, origin: &Origin, lied: bool, now: Instant, draw: f64) {
        let times = self.failures.get(origin).map_or(0, |f| f.times).saturating_add(1);
        let doubled = FIRST_REST.saturating_mul(1 << (times - 1).min(16)).min(LONGEST_REST);
        let rest = if lied { LONGEST_REST } else { doubled };
        let until = now + rest.mul_f64(0.75 + draw.clamp(0.0, 1.0) / 2.0);
        self.failures.insert(origin.clone(), Failure { times, until });
    }

    fn all(&self) -> Vec<Origin> {
        let mut all: Vec<Origin> = Vec::new();
        let elsewhere = self.machine.iter().chain(&self.site).cloned().map(Origin::Elsewhere);
        for origin in elsewhere.chain([Origin::Mirror]) {
            if !all.contains(&origin) {
                all.push(origin);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Origin {
        Origin::Elsewhere(text.parse().unwrap())
    }

    #[test]
    fn the_nearest_place_comes_first_and_the_mail_servers_own_mirror_last() {
        let mut places = Places::new(vec!["http://near.example/".parse().unwrap()]);
        places.alternate(&["https://cdn.example/t".into(), "http://plain.example".into(), "nonsense".into()]);
        let expected = [at("http://near.example/"), at("https://cdn.example/t"), Origin::Mirror];
        assert_eq!(places.order(Instant::now()), expected);
        places.alternate(&[]);
        assert_eq!(places.order(Instant::now()), [at("http://near.example/"), Origin::Mirror]);
    }

    #[test]
    fn what_a_site_must_not_name_is_left_out() {
        let mut places = Places::new(vec![]);
        for bad in [
            "http://127.0.0.1/",
            "file:///srv",
            "https://kim:secret@cdn.example/",
            "https://cdn.example/?a",
            "",
            "https://",
        ] {
            places.alternate(&[bad.into()]);
            assert_eq!(places.order(Instant::now()), [Origin::Mirror], "{bad}");
        }
        let many: Vec<String> = (0..100).map(|n| format!("https://cdn{n}.example/")).collect();
        places.alternate(&many);
        assert_eq!(places.order(Instant::now()).len(), MAX_ALTERNATE + 1);
    }

    #[test]
    fn a_place_that_failed_is_asked_last_for_a_while_and_one_that_lied_for_long() {
        let (now, mut places) = (Instant::now(), Places::new(vec![]));
        places.alternate(&["https://a.example/".into(), "https://b.example/".into()]);
        let (a, b) = (at("https://a.example/"), at("https://b.example/"));
        places.failed(&a, false, now, 0.5);
        assert_eq!(places.order(now), [b.clone(), Origin::Mirror, a.clone()]);
        places.failed(&b, true, now, 0.5);
        assert_eq!(places.order(now), [Origin::Mirror, a.clone(), b.clone()]);
        let later = now + FIRST_REST + Duration::from_secs(1);
        assert_eq!(places.order(later), [a.clone(), Origin::Mirror, b.clone()]);
        places.failed(&a, false, later, 0.5);
        assert_eq!(
            places.order(later + FIRST_REST * 3 / 2),
            [Origin::Mirror, a.clone(), b.clone()],
            "longer each time"
        );
        places.worked(&a);
        assert_eq!(places.order(later)[0], a);
        assert_eq!(places.order(now + LONGEST_REST * 2)[..2], [a, b]);
    }
}
