//! What Dovecot and Exim are told.

use anyhow::Result;

use crate::{DOMAIN, MailRig, Setup, account::Identity};

impl MailRig {
    pub(crate) fn dovecot_conf(&self) -> Result<String> {
        let d = self.dir.display();
        let Identity { user, group, uid, gid } = Identity::of_mail()?;
        let Self { setup: Setup { version, dovecot: more, .. }, imaps, submission, lmtp, exim, .. } = self;
        Ok(format!(
            r#"base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/log/dovecot.log
log_timestamp = "%Y-%m-%d %H:%M:%S "
protocols = imap lmtp submission
listen = 127.0.0.1
login_greeting = Example Mail {version} ready.
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = {uid}
first_valid_gid = {gid}
mail_location = maildir:{d}/mail/%d/%n
mail_max_userip_connections = 100
ssl = required
ssl_cert = <{d}/etc/cert.pem
ssl_key = <{d}/etc/key.pem
hostname = localhost
auth_mechanisms = plain login
auth_failure_delay = 1 secs
imap_id_retain = yes
imap_id_log = *
mail_plugins = notify mail_log
plugin {{
  mail_log_events = delete expunge copy save append flag_change mailbox_create mailbox_delete mailbox_rename
}}
protocol imap {{
  mail_plugins = $mail_plugins
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {d}/etc/passwd
  override_fields = nodelay=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={d}/home/%d/%n allow_all_users=no
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Drafts {{
    auto = subscribe
    special_use = \Drafts
  }}
  mailbox Sent {{
    auto = subscribe
    special_use = \Sent
  }}
  mailbox Trash {{
    auto = subscribe
    special_use = \Trash
  }}
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service submission-login {{
  chroot =
  inet_listener submission {{
    port = {submission}
  }}
  inet_listener submissions {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
submission_relay_host = 127.0.0.1
submission_relay_port = {exim}
submission_relay_trusted = yes
{more}
"#
        ))
    }

    pub(crate) fn exim_conf(&self) -> Result<String> {
        let d = self.dir.display();
        let Identity { group, uid, gid, .. } = Identity::of_mail()?;
        let Self { setup: Setup { exim_main, exim_acl, exim_routers, .. }, lmtp, exim, .. } = self;
        Ok(format!(
            r"primary_hostname = localhost
spool_directory = {d}/spool
log_file_path = {d}/log/exim-%slog
pid_file_path = {d}/run/exim.pid
admin_groups = {group}
exim_user = {uid}
exim_group = {gid}
never_users =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {exim}
domainlist local_domains = {DOMAIN}
acl_smtp_rcpt = acl_rcpt
deliver_drop_privilege = true
keep_environment =
tls_advertise_hosts =
host_lookup =
{exim_main}
begin acl
acl_rcpt:
  accept domains = +local_domains
         hosts = 127.0.0.1
  deny message = relay not permitted
{exim_acl}
begin routers
{exim_routers}dovecot:
  driver = manualroute
  domains = +local_domains
  route_list = * 127.0.0.1
  self = send
  transport = lmtp
begin transports
lmtp:
  driver = smtp
  protocol = lmtp
  port = {lmtp}
begin retry
* * F,2h,1s
begin authenticators
"
        ))
    }
}
