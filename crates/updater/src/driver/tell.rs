//! The report to the server, and what this PC's users see.

use protocol::{
    device::Device,
    ipc::PcStatus,
    product::{Platform, ProductId},
};
use tokio::time::Instant;

use super::{Driver, report};
use crate::{download::room::free_for, source::Source};

impl<S: Source> Driver<S> {
    pub(super) fn device(&self) -> Device {
        let products = self.tracked.iter().filter(|(p, _)| self.is_mine(p));
        report::device(
            report::Pc {
                hostname: &self.setup.hostname,
                platform: Platform::current(),
                channel: &self.setup.channel,
                updater: &self.setup.version,
                policy: self.setup.policy,
                machine: &self.setup.machine,
                now: self.now(),
                disk_free: free_for(&self.setup.layout.products()),
                metadata_expires: self.setup.metadata.as_ref().map(|m| m.expires),
                problem: self.metadata_problem.as_deref(),
                updater_directive: self.tracked.get(&ProductId::updater()).and_then(|t| t.directive.as_ref()),
            },
            products.map(|(product, t)| (product, &t.state, &t.observed, self.setup.record.product(product))),
        )
    }

    pub(super) fn publish(&self) {
        let device = self.device();
        let (now, at) = (self.now(), Instant::now());
        let pc = PcStatus {
            next_check_in: self.schedule.due_in(at).and_then(|wait| now.checked_add(wait).ok()),
            busy: self.schedule.is_busy() || self.refreshing,
            check_ins: self.check_ins,
            metadata_expires: device.metadata_expires,
            disk_free: device.disk_free,
            policy: device.policy,
            machine: device.machine.clone(),
        };
        let directives = self.tracked.iter().filter_map(|(p, t)| Some((p.clone(), t.directive.as_ref()?)));
        let explained = self.tracked.iter().filter_map(|(p, t)| Some((p.clone(), t.explained.clone()?))).collect();
        let elsewhere = || {
            self.contact_problem.as_ref().or(self.metadata_problem.as_ref()).or(self.settings_problem.as_ref()).cloned()
        };
        let problem = self.refused.in_words().or_else(elsewhere);
        let mut next = report::published(device, directives.collect(), explained, &self.setup.record, problem);
        next.pc = pc;
        next.history = self.history.shown().to_vec();
        self.published.send_if_modified(|old| {
            let changed = *old != next;
            *old = next;
            changed
        });
    }
}
