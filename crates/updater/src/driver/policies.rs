//! What the driver keeps of policies: since when something is put off, which failures do not count any more, what happened.

use protocol::{Admission, Directive, Timestamp, device::Device, explain::explain, product::ProductId, terms};

use super::{Driver, blocking};
use crate::{history::Seen, source::Source};

impl<S: Source> Driver<S> {
    /// A decision was made: it is kept in words, with the moment at which it may change by itself.
    pub(super) async fn decided(
        &mut self,
        device: &Device,
        directive: &Directive,
        admission: &Admission,
        now: Timestamp,
    ) {
        let product = &directive.product;
        if let Some(tracked) = self.tracked.get_mut(product) {
            tracked.explained = Some(explain(device, directive, admission));
            tracked.look_again = protocol::look_again(device, directive, now);
        }
        let before = self.setup.record.product(product).put_off_since;
        let after = match admission {
            // Without a deadline it can be put off for ever, so nothing is counted.
            _ if terms::deadline(directive).is_none() => None,
            Admission::AwaitConsent { .. } | Admission::Wait { .. } => before.or(Some(now)),
            Admission::Nothing => None,
            _ => before,
        };
        if before != after {
            self.setup.record.product_mut(product).put_off_since = after;
            self.save().await;
        }
    }

    /// The site's administrator wants failures of the past to be tried again. It names each one, so that a later failure of the same
    /// version is none of them.
    pub(super) async fn forgive_named(&mut self, directive: &Directive) {
        let mut forgiven = false;
        for again in &directive.terms.again {
            let record = self.setup.record.product_mut(&directive.product);
            for failed in &mut record.failed {
                if !failed.again && failed.version == again.version && failed.at == again.failed_at {
                    failed.again = true;
                    forgiven = true;
                }
            }
        }
        if forgiven {
            self.save().await;
        }
    }

    /// Root wants everything that was rolled back here to be tried again now.
    pub(super) async fn retry_all(&mut self) -> Result<String, String> {
        let mut named = Vec::new();
        for (product, record) in &mut self.setup.record.products {
            for failed in record.failed.iter_mut().filter(|f| !f.again) {
                failed.again = true;
                named.push(format!("{product} {}", failed.version));
            }
        }
        if named.is_empty() {
            return Err("nothing was rolled back here".into());
        }
        self.save().await;
        Ok(format!("{} may be tried again; asking the server", named.join(", ")))
    }

    /// From now on a failure of this version does not count: it is being tried again. Remembered before the switch, so that a start
    /// after a power cut checks the version instead of leaving it.
    pub(super) async fn begin_another_try(&mut self, product: &ProductId, version: &protocol::Version) {
        let record = self.setup.record.product_mut(product);
        let barred = record.failed.iter_mut().find(|f| f.version == *version && !f.again);
        if let Some(failed) = barred {
            failed.again = true;
            self.save().await;
        }
    }

    /// Writes what has happened into the history.
    pub(super) async fn note_history(&mut self) {
        let at = self.now();
        let mut new = Vec::new();
        for (product, tracked) in &self.tracked {
            let state = &tracked.state;
            let seen =
                Seen { current: tracked.observed.current.clone(), state: state.device_state(), detail: state.detail() };
            let why = tracked.directive.as_ref().map(|d| d.why.as_str());
            new.extend(self.history.look(product, seen, state, why, at));
        }
        let new = self.history.take_unwritten(new);
        if new.is_empty() {
            return;
        }
        let history = self.history.clone();
        let (result, new) = blocking(move || (history.write(&new), new)).await;
        // Nothing depends on it, so nothing stops for it; it is tried again at the next step.
        if let Err(error) = result {
            tracing::warn!(%error, "the history could not be written");
            self.history.refused(new);
        }
    }
}
