//! sudo: `sudo -A` asks through the program that its configuration names. Whoever is no administrator is asked for root's
//! password (`rootpw`), as where a user has somebody else's word for it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, Result};

use super::{Elevation, PASSWORD, Person, accounts, prepare, view::View, write_program};
use mail_rig::process::must;

impl Elevation {
    /// sudo for these people, with everything in `dir`, which all users of the machine must be able to enter.
    ///
    /// # Errors
    /// When we are not root, sudo is missing, or its configuration is refused.
    pub fn sudo(dir: &Path, people: &[Person]) -> Result<Self> {
        prepare(dir, people)?;
        let (sudoers, conf) = (dir.join("etc/sudoers"), dir.join("etc/sudo.conf"));
        fs::write(&sudoers, rules(dir, people))?;
        fs::set_permissions(&sudoers, fs::Permissions::from_mode(0o440))?;
        must(Command::new("/usr/sbin/visudo").arg("-cqf").arg(&sudoers)).context("sudo's rules")?;
        let askpass = dir.join("askpass");
        write_program(&askpass, &person_at_the_window(dir))?;
        fs::write(&conf, format!("Path askpass {}\n", askpass.display()))?;
        let mut mounts = accounts::mounts(dir);
        mounts.extend([(sudoers, "/etc/sudoers"), (conf, "/etc/sudo.conf")]);
        Ok(Self {
            view: View::new(dir, &mounts)?,
            dir: dir.into(),
            people: people.to_vec(),
            command: ["sudo", "-A"].map(String::from).into(),
            quiet_probe: ["sudo", "-n", "true"].map(String::from).into(),
            wrapper: None,
            programs: vec![],
        })
    }
}

fn rules(dir: &Path, people: &[Person]) -> String {
    // Nobody is remembered, so that every run asks; one try, since a person who is wrong once will be again.
    let mut rules = format!(
        "Defaults env_reset, timestamp_timeout=0, lecture=never, passwd_tries=1, !syslog, !mailerpath\n\
         Defaults secure_path=\"/usr/sbin:/usr/bin:/sbin:/bin\"\n\
         Defaults logfile=\"{}/sudo.log\"\n\
         root ALL=(ALL:ALL) ALL\n",
        dir.display()
    );
    for Person { name, administrator, .. } in people {
        rules += &if *administrator {
            format!("{name} ALL=(root) NOPASSWD: ALL\n")
        } else {
            format!("Defaults:{name} rootpw\n{name} ALL=(root) ALL\n")
        };
    }
    rules
}

/// The askpass program (sudo.conf(5)): it runs as the person who is asked, with the question as its argument.
fn person_at_the_window(dir: &Path) -> String {
    format!(
        r#"#!/bin/sh
name=$(id -un)
printf '%s\t%s\n' "$name" "$1" >> '{d}/asked.log'
case $(cat "{d}/answers/$name") in
right) echo '{PASSWORD}' ;;
wrong) echo 'something else' ;;
leave-open) exec sleep infinity ;;
*) exit 1 ;;
esac
"#,
        d = dir.display()
    )
}
