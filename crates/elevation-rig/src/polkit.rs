//! polkit: `pkexec` asks polkitd over the system bus, polkitd asks the agent of the program that wants to know, and the
//! agent asks the person. On a desktop the agent stands for a session; here it stands for every process of its person,
//! since there are no sessions.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{Elevation, PASSWORD, Person, accounts, prepare, view::View, write_program};
use mail_rig::process::Background;

const AGENT: &str = include_str!("agent.py");
const LIMIT: Duration = Duration::from_secs(30);

impl Elevation {
    /// polkit for these people, with everything in `dir`, which all users of the machine must be able to enter.
    ///
    /// # Errors
    /// When we are not root, or one of its programs is missing or does not start; the error shows what it said.
    pub fn polkit(dir: &Path, people: &[Person]) -> Result<Self> {
        prepare(dir, people)?;
        for sub in ["bus", "rules"] {
            fs::create_dir_all(dir.join(sub))?;
            fs::set_permissions(dir.join(sub), fs::Permissions::from_mode(0o755))?;
        }
        fs::write(dir.join("rules/10-story.rules"), rules(people))?;
        // A machine whose own bus has never run does not have the place yet.
        fs::create_dir_all("/run/dbus").context("/run/dbus")?;
        let mut mounts = accounts::mounts(dir);
        mounts.extend([(dir.join("bus"), "/run/dbus"), (dir.join("rules"), "/etc/polkit-1/rules.d")]);
        let view = View::new(dir, &mounts)?;

        let mut bus = view.command("dbus-daemon");
        bus.args(["--system", "--nofork", "--nopidfile", "--nosyslog", "--print-address"]);
        let mut bus = Background::start("the system bus", &mut bus, &dir.join("bus.log"))?;
        bus.wait_for("unix:path=", LIMIT)?;
        let mut polkitd = view.command("/usr/lib/polkit-1/polkitd");
        let mut polkitd = Background::start("polkitd", &mut polkitd, &dir.join("polkitd.log"))?;
        polkitd.wait_for("Acquired the name", LIMIT)?;

        let wrapper = dir.join("in-session");
        write_program(&wrapper, &in_session(dir))?;
        fs::write(dir.join("agent.py"), AGENT)?;
        let mut elevation = Self {
            dir: dir.into(),
            people: people.to_vec(),
            command: vec!["pkexec".into()],
            quiet_probe: ["pkcheck", "--action-id", "org.freedesktop.policykit.exec", "--process", "PID"]
                .map(String::from)
                .into(),
            wrapper: None,
            programs: vec![],
            view,
        };
        let mut agents = Vec::new();
        for Person { name, uid, .. } in people {
            let session = dir.join("sessions").join(uid.to_string());
            fs::create_dir_all(&session)?;
            chown(&session, Some(*uid), Some(*uid))?;
            let mut agent = elevation.as_person(name, Path::new("/usr/bin/python3"))?;
            agent.arg(dir.join("agent.py")).arg(dir).arg(name).arg(PASSWORD).env("PYTHONDONTWRITEBYTECODE", "1");
            let mut agent = Background::start("an agent", &mut agent, &dir.join(format!("agent-{name}.log")))?;
            agent.wait_for("ready", LIMIT)?;
            agents.push(agent);
        }
        agents.extend([polkitd, bus]);
        (elevation.programs, elevation.wrapper) = (agents, Some(wrapper));
        Ok(elevation)
    }
}

/// The site's rules (polkit(8)): who the administrator is, and for whom nothing is asked.
fn rules(people: &[Person]) -> String {
    let unasked: Vec<String> =
        people.iter().filter(|person| person.administrator).map(|person| format!("{:?}", person.name)).collect();
    format!(
        r#"polkit.addAdminRule(function(action, subject) {{ return ["unix-user:root"]; }});
polkit.addRule(function(action, subject) {{
    if (action.id == "org.freedesktop.policykit.exec" && [{}].indexOf(subject.user) >= 0) return polkit.Result.YES;
}});
"#,
        unasked.join(", ")
    )
}

/// Starts a program as soon as the agent has noticed its process; it notices later ones by itself.
fn in_session(dir: &Path) -> String {
    format!(
        r#"#!/bin/sh
while ! [ -e "{}/sessions/$(id -u)/$$" ]; do sleep 0.05; done
exec "$@"
"#,
        dir.display()
    )
}
