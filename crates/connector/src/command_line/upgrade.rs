//! `upgrade` and `install`: the installer, started by the user.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use lockstep_connector::{
    account::Account,
    clock,
    installer::{
        self, Installation,
        elevation::{Denied, Elevation, Terminal},
        payload::{Payload, program_of},
        per_machine,
    },
    instance,
    live::Live,
    profile::{self, Found},
    server_client::ServerClient,
    status::Status,
    words::HERE,
};
use protocol::{
    Decision, Directive, Version,
    message::{ConnectorCheckIn, Gate, V},
    product::{Platform, ProductId},
};

use super::{Install, Upgrade, Words, absolute_root, log_to_stderr, runtime};

pub(super) fn upgrade(options: &Upgrade, version: &str) -> Result<ExitCode> {
    log_to_stderr("warn");
    let (root, data) = (options.places.root()?, options.places.data()?);
    if per_machine::updater_is_installed(&root) {
        println!("This computer has Lockstep Updater: upgrades need no password. See: {}", HERE.updater_status);
        return Ok(ExitCode::SUCCESS);
    }
    let account = Account::load(&data)?;
    let version = protocol::product::parse_version(version)?;
    let found = profile::find(&root, &std::env::current_exe()?)?;
    let users = options.elevation.as_ref().map(|Words(words)| words.as_slice()).or(account.elevation.as_deref());
    let installation =
        Installation { data: data.clone(), root: root.clone(), elevation: installer::elevation(&root, users) };
    runtime()?.block_on(async {
        let server = ServerClient::new(&found.profile, &version.to_string())?;
        let mut directive = ask(&server, &found, &root, &data, &version).await?;
        let wanted = match directive.decision.version() {
            Some(wanted) => wanted.clone(),
            None if directive.decision == Decision::Current => version.clone(),
            None => bail!("there is nothing that could be installed: {}", directive.why),
        };
        // The user's word counts as much as the server's: also what was only to be staged, and the running version once
        // more, with the updater.
        directive.decision = Decision::Recommended { version: wanted.clone() };
        println!("Preparing {wanted} …");
        let workshop = installer::workshop(&found, &data, server, &version)?;
        let Some(payload) = workshop.prepare(&directive, clock::now()).await? else {
            println!("There is nothing to install.");
            return Ok(ExitCode::SUCCESS);
        };
        let Payload { connector, updater, .. } = &payload;
        println!("Installing connector {connector} and updater {updater}; the administrator's password is asked for …");
        let done = installation.install(&payload.program(), connector, Terminal::Users).await;
        report(done, &installation.elevation)?;
        if let Err(error) = workshop.clear() {
            eprintln!("What was installed from cannot be removed from {}: {error}", data.display());
        }
        match instance::is_running(&data)? {
            true => println!("The running connector makes room for it within seconds."),
            false => println!("Start it: {}", start_line(&root, &data)),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What the site's server says of this version now.
async fn ask(server: &ServerClient, found: &Found, root: &Path, data: &Path, version: &Version) -> Result<Directive> {
    let live = Live::load(data, &version.to_string()).await?;
    let running = instance::is_running(data)?;
    let status = Status::load(data).unwrap_or_default().filter(|_| running);
    let check_in = ConnectorCheckIn {
        v: V,
        product: ProductId::connector(),
        version: version.clone(),
        gate: status.as_ref().map_or(Gate::Offline, |status| status.gate),
        outbox: status.as_ref().map_or(0, |status| status.outbox),
        hostname: profile::hostname(root),
        platform: Platform::current(),
        ticket: None,
        detail: Some("no updater; the user has started the installation".into()),
    };
    let token = live.secrets().borrow().token.clone();
    let answer = server.check_in(&token, &check_in).await;
    Ok(answer.with_context(|| format!("{} cannot say what is needed", found.profile.server))?.directive)
}

pub(super) fn install(options: &Install) -> Result<ExitCode> {
    log_to_stderr("warn");
    let root = absolute_root(&options.root)?;
    let program = std::env::current_exe()?.canonicalize()?;
    let installer = program.parent().and_then(Path::parent).map(program_of).filter(|installer| installer.is_file());
    let Some(installer) = installer else {
        bail!(
            "{} does not lie in a download from the integration page; unpack that, and {} in it",
            program.display(),
            if cfg!(windows) { "start the .msi file" } else { "run bin/lockstep-connector install" }
        );
    };
    let users = options.elevation.as_ref().map(|Words(words)| words.as_slice());
    let elevation = installer::elevation(&root, users);
    println!("The administrator's password is asked for …");
    let arguments = ["install".as_ref(), "--root".as_ref(), root.as_os_str()];
    report(runtime()?.block_on(elevation.run(&installer, &arguments, Terminal::Users)), &elevation)?;
    println!("A connector of yours that runs makes room for it. Otherwise set it up and start it:");
    println!("  {} --root {} connector -- run", per_machine::launcher(&root).display(), root.display());
    Ok(ExitCode::SUCCESS)
}

fn report(done: Result<String, Denied>, elevation: &Elevation) -> Result<()> {
    match done {
        Ok(said) => {
            println!("Installed.\n{said}");
            Ok(())
        }
        Err(Denied { detail, .. }) => {
            let command = elevation.command.join(" ");
            bail!("not installed: {detail} (asked with: {command}; choose another way with --elevation)")
        }
    }
}

fn start_line(root: &Path, data: &Path) -> String {
    let words = installer::launcher_arguments(root, data).map(|word| word.to_string_lossy().into_owned());
    let all = [per_machine::launcher(root).display().to_string()].into_iter().chain(words);
    let quoted =
        all.map(|word| shlex::try_quote(&word).map(|quoted| quoted.into_owned()).unwrap_or_else(|_| word.clone()));
    quoted.collect::<Vec<_>>().join(" ")
}
