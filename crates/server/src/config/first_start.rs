//! The commented configuration file that the first start writes.

use std::{net::SocketAddr, path::PathBuf};

use protocol::product::ProductId;

use super::{HostPort, Loopback, SiteUrl, SourceKind, VendorRepository};

/// What has to be known to write the file.
#[derive(Debug, Clone)]
pub struct FirstStart {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The server's address for people and PCs.
    pub url: SiteUrl,
    /// The vendor's repository.
    pub vendor: VendorRepository,
    /// IMAP over TLS.
    pub imap: HostPort,
    /// Submission.
    pub submission: HostPort,
    /// Whether submission uses STARTTLS. `None`: it does on every port but 465.
    pub submission_starttls: Option<bool>,
    /// CA or certificate of the mail server.
    pub mail_ca: Option<PathBuf>,
    /// The WebMail.
    pub webmail: Option<SiteUrl>,
    /// The first product.
    pub product: ProductId,
    /// What the product's server is called.
    pub server_name: Option<String>,
    /// Where its server's version comes from.
    pub source: SourceKind,
    /// Where the mail server asks about logins.
    pub mail_gate: Option<Loopback>,
}

/// What the first start was not told.
#[derive(Debug, thiserror::Error)]
#[error("this is the first start: say {} too (see --help for an example)", .0.join(", "))]
pub struct Missing(pub Vec<&'static str>);

/// The file's text: every setting, each with what it means and its default.
pub fn template(first: &FirstStart) -> String {
    let starttls = first.submission_starttls.unwrap_or(first.submission.port != 465);
    let source = match &first.source {
        SourceKind::Probe(argv) => {
            let list: Vec<String> = argv.iter().map(|a| quoted(a)).collect();
            format!("probe = [{}]\n# url = \"https://localhost/version\"", list.join(", "))
        }
        SourceKind::Url(url) => {
            format!("# probe = [\"/usr/sbin/dovecot\", \"--version\"]\nurl = {}", quoted(url.as_str()))
        }
        SourceKind::Pushed => {
            "# probe = [\"/usr/sbin/dovecot\", \"--version\"]\n# url = \"https://localhost/version\"".into()
        }
    };
    let ca = optional("ca", "ca.pem", first.mail_ca.as_ref().map(|p| p.display().to_string()));
    let webmail =
        optional("webmail", "https://webmail.example.com", first.webmail.as_ref().map(|u| u.as_str().to_owned()));
    let mail_gate = optional("listen", "127.0.0.1:4480", first.mail_gate.map(|l| l.to_string()));
    format!(
        r#"# lockstep-server: the site's settings.
# Restart the server after a change. The console changes the two switches at the end by itself.
# Relative paths start at this file's directory. Lengths of time are written as "14 days", "5 minutes" or "30 s".

# Where to listen. Use 0.0.0.0 or [::] for every network interface.
listen = {listen}

# The address under which people and PCs reach this server; it is in every installer that you hand out.
url = {url}

# The site's name for people.
name = {name}

[tls]
# The certificate chain and its key, in PEM. The ones named here were made for you; put your own in their place or name others.
certificate = "tls/cert.pem"
key = "tls/key.pem"

[vendor]
# The vendor's release repository (TUF): an http(s) address, or a directory such as a mounted share.
repository = {vendor}
# The vendor's root of trust, pinned at the first start. Whatever is not signed under it is never mirrored.
root = "vendor-root.json"
# How often the vendor is asked for news.
refresh_every = "1 hour"

[mail]
# The mail server as the PCs reach it: IMAP over TLS, and message submission.
imap = {imap}
submission = {submission}
# true: submission begins in plain text and goes on with STARTTLS (usual on port 587); false: TLS from the start (465).
submission_starttls = {starttls}
# A CA, or the mail server's own certificate, in PEM. Without it the system's authorities count.
{ca}
# Where people read mail in a browser; notices link to it.
{webmail}

[products.{product}]
# What you call the server that this product belongs to; the warning log uses it.
server_name = {server_name}
# When and how PCs upgrade: "ask", "ask-must-accept", "silent", "silent-at-start", "necessary-ask", "necessary-silent".
policy = "silent-at-start"
# true: nothing is offered.
hold = false
# The server version that PCs make ready for. Without it: the newest one that a release is made for.
# next = "7.3.0"

[products.{product}.server_version]
# Where the server's version comes from; the first version in the answer counts. One of:
# a program and its arguments, run without a shell, as this server's user; or an address; or neither, and a package hook calls
# `lockstep server-version set`.
{source}
# How often it is asked, and when an answer is given up.
every = "5 seconds"
timeout = "5 seconds"

[clients]
# The longest time between two check-ins of a PC. News are pushed in between.
check_in_every = "5 minutes"
# The shortest time between two prompts for the administrator's password on a PC without an updater.
# Without it the policy says: 1 hour with "ask-must-accept", 7 days with the "necessary" ones, else 1 day.
# ask_again = "1 day"

[downloads]
# Directories on other web servers that hold what /tuf/targets here holds (a CDN, a second machine), so that downloads do not slow this
# one down. Packages are verified wherever they come from. Asked first, in this order; this server is asked where none has it.
# alternate = ["https://cdn.example.com/lockstep/targets"]
# PCs begin to make a new version ready at a random moment within this time; what is required never waits.
# start_jitter = "10 minutes"

[mail_gate]
# Where the mail server asks at each login whether a connector is too old; without it nobody asks. Plain HTTP, so only an address of
# this machine is accepted. `lockstep mail-gate` prints what goes into Dovecot's configuration.
{mail_gate}
# How open mail sessions of a connector that is too old are ended when the server's version flips: a program and its arguments, run
# without a shell, as this server's user. {{user}}, {{address}} and {{port}} are put in, each an argument of its own.
# end_sessions = ["sudo", "-n", "/usr/bin/doveadm", "kick", "{{user}}", "{{address}}"]

[readiness]
# Know by name who would be cut off by an upgrade. This never leaves the site.
# false: no names are stored (those there are wiped), no report is written, and the preflight cannot know.
enabled = true
# How often the report is written to logs/warning.log.
report_every = "14 days"

[statistics]
# Allow anonymous data to be sent to the vendor.
contribute = false
"#,
        listen = quoted(&first.listen.to_string()),
        url = quoted(first.url.as_str()),
        name = quoted(first.url.host()),
        vendor = quoted(&first.vendor.to_string()),
        imap = quoted(&first.imap.to_string()),
        submission = quoted(&first.submission.to_string()),
        product = first.product,
        server_name = quoted(first.server_name.as_deref().unwrap_or("the mail server")),
    )
}

fn optional(key: &str, example: &str, given: Option<String>) -> String {
    given.map_or_else(|| format!("# {key} = {}", quoted(example)), |text| format!("{key} = {}", quoted(&text)))
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}
