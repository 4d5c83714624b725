//! An Exim that keeps one of each submission, as docs/administrator.md tells administrators to configure it.

use crate::{MailRig, Setup};

const MAIN: &str = "acl_smtp_data = acl_data
LOCKSTEP_CLAIM = $spool_directory/lockstep/$acl_m_lockstep
";

/// Who submits has no login of its own here: Dovecot's submission service, which has checked it, hands over from 127.0.0.1.
const ACL: &str = "acl_data:
  warn hosts = 127.0.0.1
       condition = ${if def:h_X-Lockstep-Submission:}
       set acl_m_lockstep = ${sha256:${sender_address}/$h_X-Lockstep-Submission:}
  warn remove_header = X-Lockstep-Submission
  accept
";

const ROUTERS: &str = "lockstep_again:
  driver = redirect
  no_verify
  condition = ${if def:acl_m_lockstep}
  condition = ${run{/bin/ln -sT $message_exim_id LOCKSTEP_CLAIM}{no}{\\
              ${run{/bin/readlink -n LOCKSTEP_CLAIM}{${if eq{$value}{$message_exim_id}{no}{yes}}}{no}}}}
  data = :blackhole:
";

impl Setup {
    /// Adds the lines by which Exim drops a message that was submitted before.
    pub fn keep_one_of_each_submission(&mut self) {
        self.exim_main.push_str(MAIN);
        self.exim_acl.push_str(ACL);
        self.exim_routers.push_str(ROUTERS);
    }
}

impl MailRig {
    /// How many messages Exim has dropped because they had been submitted before.
    pub fn dropped_again(&self) -> usize {
        let log = self.exim_log();
        let dropped = log.lines().filter(|line| line.contains("R=lockstep_again"));
        let ids: std::collections::BTreeSet<&str> = dropped.filter_map(|line| line.split(' ').nth(2)).collect();
        ids.len()
    }
}
