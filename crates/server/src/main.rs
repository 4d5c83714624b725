//! The program `lockstep-server`.

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use jiff::tz::TimeZone;
use lockstep_server::{
    app::Clock,
    config::{FILE_NAME, HostPort, Loopback, SiteUrl, VendorRepository},
    failure::chain,
    platform,
    start::{self, Flags},
};
use protocol::product::ProductId;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

const VERSION: &str = match option_env!("LOCKSTEP_VERSION") {
    Some(v) => v,
    None => env!("CARGO_PKG_VERSION"),
};

/// Keeps a server's desktop clients upgraded with it: mirrors signed releases, takes check-ins, decides, warns.
#[derive(Parser)]
#[command(version = VERSION, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  The first start says what cannot be guessed; it writes DIR/server.toml:
    lockstep-server run --data /var/lib/lockstep-server \\
        --url https://mail.example.com:4443 \\
        --vendor https://releases.example.org/tuf --vendor-root root.json \\
        --imap mail.example.com:993 --submission mail.example.com:587 \\
        --server-version-probe '/usr/sbin/dovecot --version'

  From then on:
    lockstep-server run --data /var/lib/lockstep-server";

#[derive(Subcommand)]
enum Command {
    /// Run the server until it is told to stop (ctrl-c, SIGTERM).
    #[command(after_help = EXAMPLES)]
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// Everything the server keeps: configuration, database, mirror, certificate, logs.
    #[arg(long, value_name = "DIR", env = "LOCKSTEP_DATA", default_value = "/var/lib/lockstep-server")]
    data: PathBuf,
    /// The configuration file [default: DIR/server.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    first: First,
}

#[derive(Args)]
#[command(next_help_heading = "Only for the first start (then they are in the configuration file)")]
struct First {
    /// Where to listen [default: 0.0.0.0:4443].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The address under which people and PCs reach this server.
    #[arg(long, value_name = "URL")]
    url: Option<SiteUrl>,
    /// The vendor's release repository: an address or a directory.
    #[arg(long, value_name = "URL|DIR")]
    vendor: Option<VendorRepository>,
    /// The vendor's root of trust; get it from the vendor in a way that you trust. It is copied.
    #[arg(long, value_name = "FILE")]
    vendor_root: Option<PathBuf>,
    /// The mail server, IMAP over TLS.
    #[arg(long, value_name = "HOST:PORT")]
    imap: Option<HostPort>,
    /// The mail server, message submission.
    #[arg(long, value_name = "HOST:PORT")]
    submission: Option<HostPort>,
    /// Whether submission begins in plain text and goes on with STARTTLS [default: true, but false on port 465].
    #[arg(long, value_name = "BOOL")]
    submission_starttls: Option<bool>,
    /// A CA or the mail server's own certificate, in PEM, where the system's authorities do not know it. It is copied.
    #[arg(long, value_name = "FILE")]
    mail_ca: Option<PathBuf>,
    /// Where people read mail in a browser.
    #[arg(long, value_name = "URL")]
    webmail: Option<SiteUrl>,
    /// The product to manage [default: connector].
    #[arg(long, value_name = "NAME")]
    product: Option<ProductId>,
    /// What you call the server that the product belongs to [default: the mail server].
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// A program and its arguments that print the server's version; run without a shell.
    #[arg(long, value_name = "CMD", conflicts_with = "server_version_url")]
    server_version_probe: Option<String>,
    /// An address that tells the server's version. With neither, `lockstep server-version set` tells it.
    #[arg(long, value_name = "URL")]
    server_version_url: Option<SiteUrl>,
    /// Where the mail server asks at each login whether a connector is too old; an address of this machine.
    #[arg(long, value_name = "ADDRESS:PORT")]
    mail_gate: Option<Loopback>,
}

impl From<First> for Flags {
    fn from(first: First) -> Self {
        Self {
            listen: first.listen,
            url: first.url,
            vendor: first.vendor,
            vendor_root: first.vendor_root,
            imap: first.imap,
            submission: first.submission,
            submission_starttls: first.submission_starttls,
            mail_ca: first.mail_ca,
            webmail: first.webmail,
            product: first.product,
            server_name: first.server_name,
            probe: first.server_version_probe,
            version_url: first.server_version_url,
            mail_gate: first.mail_gate,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Run(run) = Cli::parse().command;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match serve(run).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lockstep-server: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn serve(run: Run) -> anyhow::Result<()> {
    let data = std::path::absolute(&run.data).context("the data directory has no absolute path")?;
    let config = run.config.unwrap_or_else(|| data.join(FILE_NAME));
    let flags = Flags::from(run.first);
    if !config.exists() {
        start::first_start(&data, &config, &flags)?;
        println!("first start: wrote {}", config.display());
    } else if flags != Flags::default() {
        tracing::warn!(config = %config.display(), "this is not the first start: the configuration file counts, the flags do not");
    }

    let (tell_stop, stop) = watch::channel(false);
    let opened = start::open(&data, &config, VERSION, Clock::system(), TimeZone::system(), stop.clone()).await?;
    let listener = start::bind(opened.app.config.listen).await?;
    let gate = start::bind_mail_gate(&opened.app.config.mail_gate).await?;
    let mut out = std::io::stdout();
    if let Some(password) = opened.new_password {
        let file = data.join("initial-admin-password");
        writeln!(out, "administrator: admin\npassword:      {password}\n(also in {})", file.display())?;
    }
    writeln!(out, "lockstep-server ready at {}", opened.app.config.url)?;
    out.flush()?;

    tokio::spawn(async move {
        if let Err(error) = platform::asked_to_stop().await {
            tracing::error!(%error, "signals cannot be received; stopping");
        }
        // An error means that the server has stopped already.
        let _ = tell_stop.send(true);
    });
    start::serve(opened.app, opened.identity, listener, gate, stop).await;
    Ok(())
}
