//! Which versions are not needed any more, and their removal. A version that any process runs stays.

use std::collections::BTreeSet;

use protocol::{Decision, Directive, Version, catalog::Release, product::ProductId};

use super::{Driver, blocking, is_switching, tries::tries_name};
use crate::{download::partial_name, machine::State, record::ProductRecord, slots::Observed, source::Source, words};

impl<S: Source> Driver<S> {
    /// Removes what is not needed. Failures are logged: nothing depends on it, and it is tried again.
    pub(super) async fn prune(&mut self) {
        let mut superfluous = Vec::new();
        for (product, tracked) in &self.tracked {
            let busy = is_switching(&tracked.state) || matches!(tracked.state, State::Staging { .. });
            if !busy {
                let record = self.setup.record.product(product);
                let offered = |version: &Version| self.is_offered(product, version);
                for version in unneeded(&tracked.observed, &record, tracked.directive.as_ref(), &offered) {
                    superfluous.push((product.clone(), version));
                }
            }
        }
        for (product, version) in superfluous {
            self.remove(product, version).await;
        }
        self.sweep().await;
    }

    fn is_offered(&self, product: &ProductId, version: &Version) -> bool {
        let named = |r: &Release| (&r.product, &r.version) == (product, version);
        // Nothing verified yet: nothing is known to be superfluous.
        self.setup.metadata.as_ref().map(|m| &m.catalog).is_none_or(|c| {
            c.entries.iter().any(|e| named(&e.release)) && !c.is_withdrawn(product, &self.setup.channel, version)
        })
    }

    /// Removes what an operation that the disk refused in its middle has left.
    async fn sweep(&mut self) {
        let idle = |t: &super::Tracked| !is_switching(&t.state) && !matches!(t.state, State::Staging { .. });
        let left = |o: &Observed| !o.leftovers.is_empty() || !o.stray_links.is_empty();
        let refused = |product: &ProductId| self.refused.is_removing(product);
        let products = self.tracked.iter().filter(|(p, t)| idle(t) && (left(&t.observed) || refused(p)));
        for product in products.map(|(product, _)| product.clone()).collect::<Vec<_>>() {
            let (slots, of) = (self.setup.slots.clone(), product.clone());
            let swept = blocking(move || slots.sweep(&of)).await;
            self.noted(&product, swept.err()).await;
        }
    }

    async fn noted(&mut self, product: &ProductId, failed: Option<crate::slots::SlotError>) {
        if let Some(error) = &failed {
            tracing::warn!(%product, error = %words(error), "old files could not be removed; it is tried again");
        }
        self.refused.removal(product, failed.map(|error| words(&error)));
        if let Err(error) = self.observe(product).await {
            tracing::error!(%product, error = %words(&error), "the versions cannot be looked at");
        }
    }

    /// Removes what was fetched, or half fetched, of releases that the vendor does not name any more, or that are complete.
    pub(super) async fn prune_downloads(&self) {
        let Some(metadata) = &self.setup.metadata else {
            return;
        };
        let complete = |release: &Release| {
            self.tracked.get(&release.product).is_some_and(|t| t.observed.versions.contains(&release.version))
        };
        let wanted = metadata.catalog.entries.iter().filter(|e| !complete(&e.release));
        let named: BTreeSet<_> = wanted.flat_map(|e| [partial_name(&e.sha256), tries_name(&e.sha256)]).collect();
        let dir = self.setup.layout.downloads();
        let swept = blocking(move || {
            for entry in std::fs::read_dir(&dir)? {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(|name| named.contains(name)) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            std::io::Result::Ok(())
        });
        if let Err(error) = swept.await {
            tracing::warn!(%error, "old downloads could not be removed");
        }
    }

    async fn remove(&mut self, product: ProductId, version: Version) {
        let (slots, of, which) = (self.setup.slots.clone(), product.clone(), version.clone());
        let removed = blocking(move || {
            // Not knowing counts as running.
            if slots.is_running(&of, &which).unwrap_or(true) {
                return Ok(false);
            }
            slots.remove(&of, &which, rand::random()).map(|()| true)
        });
        let failed = match removed.await {
            Ok(true) => {
                tracing::info!(%product, %version, "removed, since nothing needs it any more");
                None
            }
            Ok(false) => {
                tracing::debug!(%product, %version, "kept, since a process runs it");
                None
            }
            Err(error) => Some(error),
        };
        self.noted(&product, failed).await;
    }
}

/// The versions that nothing needs: neither active, nor the way back, nor what the server speaks of.
///
/// A server that speaks of no next version may do so again, as when a cut-over is put off: what is next and still `offered` is
/// not thrown away, to be fetched a second time.
fn unneeded(
    observed: &Observed,
    record: &ProductRecord,
    directive: Option<&Directive>,
    offered: &dyn Fn(&Version) -> bool,
) -> Vec<Version> {
    let mut needed: BTreeSet<&Version> = observed.current.iter().chain(&record.previous).collect();
    let broken = |v: &Version| record.failed.iter().any(|f| f.version == *v);
    match directive.map(|d| &d.decision) {
        // The server says nothing about what will be needed: then what is staged stays, unless it is broken here.
        None | Some(Decision::Hold | Decision::Blocked { .. }) => {
            needed.extend(observed.versions.iter().filter(|v| !broken(v)));
        }
        Some(Decision::Current) => {
            let next = |v: &&Version| Some(*v) > observed.current.as_ref() && !broken(v) && offered(v);
            needed.extend(observed.versions.iter().rfind(next));
        }
        Some(decision) => {
            needed.extend(decision.version());
            needed.extend(directive.iter().flat_map(|d| &d.terms.way));
        }
    }
    observed.versions.iter().filter(|v| !needed.contains(v)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_active_the_way_back_and_what_is_wanted_stay() {
        let v = |minor| Version::new(7, minor, 0);
        let observed =
            Observed { current: Some(v(3)), versions: [v(0), v(1), v(2), v(3), v(4)].into(), ..Observed::default() };
        let mut record = ProductRecord { previous: Some(v(2)), ..ProductRecord::default() };
        record.remember_failure(v(1), "exit 1".into(), jiff::Timestamp::UNIX_EPOCH);
        let directive = |decision| Directive {
            product: ProductId::connector(),
            decision,
            policy: Default::default(),
            terms: Default::default(),
            server: None,
            why: String::new(),
        };
        let stage = directive(Decision::Stage { version: v(4) });
        let unneeded = |record: &ProductRecord, directive: Option<Directive>, offered: bool| {
            super::unneeded(&observed, record, directive.as_ref(), &|_| offered)
        };
        assert_eq!(unneeded(&record, Some(stage), true), [v(0), v(1)]);
        assert_eq!(unneeded(&record, Some(directive(Decision::Current)), true), [v(0), v(1)], "a cut-over put off");
        assert_eq!(unneeded(&record, Some(directive(Decision::Current)), false), [v(0), v(1), v(4)], "withdrawn");
        assert_eq!(unneeded(&record, None, true), [v(1)]);
        record.previous = None;
        assert_eq!(unneeded(&record, Some(directive(Decision::Hold)), true), [v(1)]);
        record.remember_failure(v(4), "exit 1".into(), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(unneeded(&record, Some(directive(Decision::Current)), true), [v(0), v(1), v(2), v(4)]);
    }
}
