//! How much of the system the services can reach, in systemd's own opinion: 0 nothing, 10 everything.

use std::process::Command;

use xtask::{process::run, workspace};

/// The updater installs programs as root, drops to another user, is on the network, and speaks to systemd from below its supervisor
/// (`NotifyAccess=all`), and lowers the priority of single threads: the rest is gone.
const UPDATER: u32 = 26;
/// The server needs the network, and nothing else.
const SERVER: u32 = 12;

#[test]
fn the_services_can_reach_little_of_the_system() {
    for (unit, limit) in
        [("crates/updater/systemd/lockstep-updater", UPDATER), ("crates/server/systemd/lockstep-server", SERVER)]
    {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", &format!("--threshold={limit}")]);
        let output = run(command.arg(workspace().join(format!("{unit}.service")))).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let figure = said.lines().last().unwrap_or_default();
        assert!(output.status.success(), "{unit}: {figure} is more than {}.{}", limit / 10, limit % 10);
        assert!(figure.contains("Overall exposure level"), "{said}");
        let guide = std::fs::read_to_string(workspace().join("docs/administrator.md")).unwrap();
        let figure = figure.split(": ").nth(1).and_then(|f| f.split(' ').next()).unwrap();
        assert!(guide.contains(&format!("| **{figure}** |")), "the guide says another figure than {figure}");
    }
}

/// Background work lowers its own priority, which systemd's list of what a service hardly needs would refuse; and nothing lowers that of
/// the switch to a new version.
#[test]
fn the_updater_may_lower_the_priority_of_its_threads_and_has_the_usual_one() {
    let unit = std::fs::read_to_string(workspace().join("crates/updater/systemd/lockstep-updater.service")).unwrap();
    let filters: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    let position = |what: &str| filters.iter().position(|filter| filter.split(' ').any(|word| word == what));
    let refused = filters.iter().position(|filter| filter.starts_with('~') && filter.contains("@resources"));
    // The later line counts (systemd.exec(5)).
    assert!(position("setpriority") > refused && position("ioprio_set") > refused, "{filters:?}");
    for key in ["Nice=", "CPUWeight=", "IOWeight=", "IOSchedulingClass=", "CPUSchedulingPolicy="] {
        assert!(!unit.lines().any(|line| line.starts_with(key)), "{key}");
    }
}
