//! What is in the MSI packages: the values that decide what Windows does with them, held here word for word.

use std::{fs, process::Command};

use xtask::{
    dist::windows::{Kind, read_table, tables},
    process::must,
};

use crate::small;

/// The rows of a table, sorted, as one text.
fn rows(msi: &std::path::Path, table: &str) -> Vec<String> {
    let mut rows: Vec<String> = read_table(msi, table).unwrap().iter().map(|row| row.join(" | ")).collect();
    rows.sort();
    rows
}

#[test]
fn the_same_programs_give_the_same_bytes_and_others_another_code() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let code = |msi: &std::path::Path| {
        let said = must(Command::new("msiinfo").arg("suminfo").arg(msi)).unwrap();
        said.lines().find_map(|l| l.strip_prefix("Revision number (UUID): ").map(str::to_owned)).unwrap()
    };
    for kind in [Kind::Updater, Kind::Connector] {
        let first = small(dir.path(), "0.1.0", "7.2.0").msi(kind, &one).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let again = small(dir.path(), "0.1.0", "7.2.0").msi(kind, &two).unwrap();
        assert_eq!(first.file_name(), again.file_name());
        assert!(fs::read(&first).unwrap() == fs::read(&again).unwrap(), "{kind:?} differs");
        let other = small(dir.path(), "0.1.1", "7.2.1").msi(kind, &two).unwrap();
        assert_ne!(code(&first), code(&other));
    }
}

#[test]
fn no_custom_action_runs_what_a_user_could_change_or_say() {
    let dir = tempfile::tempdir().unwrap();
    let msi = small(dir.path(), "0.1.0", "7.2.0").msi(Kind::Connector, dir.path()).unwrap();
    // 3090: a program of this package in Program Files (18), deferred (1024), as the system (2048); 64: whatever comes of it;
    // 8192: its words stay out of logs; 51: sets a property.
    assert_eq!(
        rows(&msi, "CustomAction"),
        [
            r#"AdoptConnector | 3090 | SetupProgram | adopt "[SETUPDIR]lockstep-connector.lpk" | "#,
            r#"AdoptUpdater | 3090 | SetupProgram | adopt "[SETUPDIR]lockstep-updater.lpk" | "#,
            r#"Configure | 11282 | SetupProgram | configure "--server=[SERVERURL]" "--policy=[POLICY]" "--enrolment-key=[ENROLLMENTKEY]" "--root-json=[ROOTJSON]" "--site-json=[SITEJSON]" "--package=[OriginalDatabase]" | "#,
            "KeepPolicy | 51 | KEEPPOLICY | [POLICY] | ",
            "KeepServerUrl | 51 | KEEPSERVERURL | [SERVERURL] | ",
            "Remove | 3154 | SetupProgram | remove | ",
            "StopWait | 3154 | SetupProgram | stop-wait | ",
        ]
    );
    let files = rows(&msi, "File");
    assert!(files.iter().any(|f| f.starts_with("SetupProgram | Setup | ")), "{files:?}");
    let directories = rows(&msi, "Directory");
    for place in ["SETUPDIR | INSTALLDIR | setup", "INSTALLDIR | ProgramFiles64Folder | Lockstep"] {
        assert!(directories.iter().any(|d| d == place), "{directories:?}");
    }
    let properties = read_table(&msi, "Property").unwrap();
    let property = |name: &str| properties.iter().find(|p| p[0] == name).map(|p| p[1].as_str());
    for settable in ["SERVERURL", "POLICY", "ENROLLMENTKEY", "ROOTJSON", "SITEJSON", "SETUPDIR", "INSTALLDIR"] {
        assert!(!tables::SECURE.split(';').any(|secure| secure == settable), "users could set {settable}");
    }
    assert_eq!(property("SecureCustomProperties"), Some(tables::SECURE));
    assert_eq!(property("MsiHiddenProperties"), Some("ENROLLMENTKEY;Configure"));
    assert_eq!(property("REBOOT"), Some("ReallySuppress"));
    assert_eq!(property("ALLUSERS"), Some("1"), "for the whole computer");
    for secret in ["Registry", "ServiceInstall", "ServiceControl"] {
        assert!(!rows(&msi, secret).iter().any(|row| row.contains("ENROLLMENTKEY")), "{secret}");
    }
    let tables = must(Command::new("msiinfo").arg("tables").arg(&msi)).unwrap();
    assert!(!tables.lines().any(|t| t == "InstallUISequenceDialog" || t == "Dialog"), "no windows");
    assert_eq!(rows(&msi, "Binary"), Vec::<String>::new(), "nothing runs from a temporary folder");
}

#[test]
fn the_service_is_what_the_updater_says_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let msi = small(dir.path(), "0.1.0", "7.2.0").msi(Kind::Updater, dir.path()).unwrap();
    let service = &read_table(&msi, "ServiceInstall").unwrap()[0];
    // 16: a process of its own; 2: automatic; 1: an error is logged, and the system starts.
    let wanted = [
        "Service",
        "LockstepUpdater",
        "Lockstep Updater",
        "16",
        "2",
        "1",
        "",
        "",
        "LocalSystem",
        "",
        "",
        "Supervisor",
        "Keeps the mail programs on this computer in step with the mail server, with what their vendor has signed.",
    ];
    assert_eq!(service, &wanted);
    // 1: started at installation, without waiting; 2, 32, 128: stopped at both, deleted at removal, waited for.
    assert_eq!(
        rows(&msi, "ServiceControl"),
        [
            "StartService | LockstepUpdater | 1 |  | 0 | Supervisor",
            "StopService | LockstepUpdater | 162 |  | 1 | Supervisor"
        ]
    );
    assert_eq!(
        rows(&msi, "MsiServiceConfigFailureActions"),
        ["Recovery | LockstepUpdater | 5 | 86400 |  |  | 1[~]1[~]1 | 5000[~]30000[~]60000 | Supervisor"]
    );
    assert_eq!(
        rows(&msi, "MsiServiceConfig"),
        ["Identity | LockstepUpdater | 5 | 5 | 1 | Supervisor", "OnError | LockstepUpdater | 5 | 4 | 1 | Supervisor"]
    );
}

#[test]
fn everything_happens_in_an_order_that_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    for kind in [Kind::Updater, Kind::Connector] {
        let msi = small(dir.path(), "0.1.0", "7.2.0").msi(kind, dir.path()).unwrap();
        let mut rows: Vec<(u32, String)> = read_table(&msi, "InstallExecuteSequence")
            .unwrap()
            .into_iter()
            .map(|row| (row[2].parse().unwrap(), row[0].clone()))
            .collect();
        rows.sort();
        let at = |name: &str| rows.iter().position(|(_, action)| action == name).unwrap_or_else(|| panic!("no {name}"));
        for (first, then) in [
            ("AppSearch", "KeepServerUrl"),
            ("FindRelatedProducts", "LaunchConditions"),
            ("InstallInitialize", "RemoveExistingProducts"),
            ("RemoveExistingProducts", "ProcessComponents"),
            ("StopWait", "StopServices"),
            ("StopServices", "Remove"),
            ("Remove", "RemoveFiles"),
            ("InstallFiles", "AdoptUpdater"),
            ("AdoptUpdater", "Configure"),
            ("Configure", "StartServices"),
            ("InstallServices", "MsiConfigureServices"),
            ("StartServices", "InstallFinalize"),
        ] {
            assert!(at(first) < at(then), "{kind:?}: {first} before {then}");
        }
        assert_eq!(rows.last().unwrap().1, "InstallFinalize", "nothing deferred comes after");
        assert_eq!(rows.iter().filter(|(_, a)| a == "AdoptConnector").count(), usize::from(kind == Kind::Connector));
    }
}
