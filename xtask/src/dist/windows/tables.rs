//! What wixl cannot write, or writes otherwise: custom actions, their order, recovery, what is hidden, what excludes what.
//!
//! | attack | answer |
//! |---|---|
//! | a user makes a custom action run another program | each runs one that lies in Program Files, by its key in this package; none comes out of a temporary folder, none is a script or a library |
//! | a user hands a custom action words that run as the system | all words but those of `Configure` are fixed; its own come from properties that only an administrator can set ([`SECURE`] holds none of them), and the program takes exactly six, each with its name in front |
//! | a user lays a `site.json` beside a package that is installed | what lies beside it is looked for at a first installation alone, which an administrator permits, and counts where no site is known |
//! | the enrolment key is read in a log or in the registry | it is a hidden property, its action's target is hidden, and it is written to no table |
//! | a window of the system's on the user's desktop | nothing has an interface; deferred actions run in session 0 |

use std::fmt::Write as _;

/// A program that lies in this package ([`SETUP`]), later, as the system.
const DEFERRED: u32 = 18 + 1024 + 2048;
/// Whatever its exit code.
const CONTINUE: u32 = 64;
/// Its words stay out of logs.
const HIDE_TARGET: u32 = 8192;
/// A property gets a value.
const SET: u32 = 51;

/// The program that custom actions run, by its key in the File table.
const SETUP: &str = "SetupProgram";

/// Properties that users without an administrator's rights may hand on to the elevated part: what Windows Installer finds itself.
pub const SECURE: &str = "WIX_UPGRADE_DETECTED;WIX_DOWNGRADE_DETECTED;UPDATERFOUND;CONNECTORFOUND";
/// Properties that stay out of logs; the custom action's own carries its words.
pub const HIDDEN: &str = "ENROLLMENTKEY;Configure";

/// The properties of an unattended installation, and where the package lies, as the updater's `configure` takes them.
const CONFIGURE: &str = concat!(
    r#"configure "--server=[SERVERURL]" "--policy=[POLICY]" "--enrolment-key=[ENROLLMENTKEY]" "#,
    r#""--root-json=[ROOTJSON]" "--site-json=[SITEJSON]" "--package=[OriginalDatabase]""#
);

/// Which of the two packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The updater alone.
    Updater,
    /// The connector and the updater.
    Connector,
}

impl Kind {
    /// As files are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Updater => "lockstep-updater",
            Self::Connector => "lockstep-connector",
        }
    }

    /// Every feature of its versions so far.
    fn features(self) -> &'static str {
        match self {
            Self::Updater => "Updater",
            Self::Connector => "Updater,Connector,SignIn",
        }
    }

    /// The same in every version, by which Windows Installer knows them again.
    pub fn upgrade_code(self) -> &'static str {
        match self {
            Self::Updater => "{EF25E86E-5BF0-4480-8A8A-99AAD85C52FB}",
            Self::Connector => "{4BF4DAD2-33BD-467B-9B45-66F0E15F09F6}",
        }
    }
}

/// A table in Windows Installer's text form (`.idt`), by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Columns, kinds, keys, rows.
    pub text: String,
}

fn table(name: &'static str, columns: &str, kinds: &str, keys: &str, rows: &[Vec<String>]) -> Table {
    let mut text = format!("{columns}\r\n{kinds}\r\n{name}\t{keys}\r\n");
    for row in rows {
        // Writing to a string does not fail.
        let _ = write!(text, "{}\r\n", row.join("\t"));
    }
    Table { name, text }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Every table of a package of this version that is written here.
pub fn tables(kind: Kind, version: &str) -> Vec<Table> {
    vec![
        custom_actions(kind),
        sequence(kind),
        upgrade(kind, version),
        launch_conditions(kind),
        features(kind),
        table(
            "Signature",
            "Signature\tFileName\tMinVersion\tMaxVersion\tMinSize\tMaxSize\tMinDate\tMaxDate\tLanguages",
            "s72\ts255\tS20\tS20\tI4\tI4\tI4\tI4\tS255",
            "Signature",
            &[row(["SetupFile", "lockstep-updater.exe", "", "", "", "", "", "", ""])],
        ),
        table(
            "DrLocator",
            "Signature_\tParent\tPath\tDepth",
            "s72\tS72\tS255\tI2",
            "Signature_\tParent\tPath",
            &[row(["SetupFile", "", r"[ProgramFiles64Folder]Lockstep\setup", "0"])],
        ),
        table(
            "AppSearch",
            "Property\tSignature_",
            "s72\ts72",
            "Property\tSignature_",
            &[
                row(["KEEPPOLICY", "KeptPolicy"]),
                row(["KEEPSERVERURL", "KeptServerUrl"]),
                row(["SETUPFOUND", "SetupFile"]),
            ],
        ),
        // Started again after 5, 30 and 60 seconds; the count begins anew after a day.
        table(
            "MsiServiceConfigFailureActions",
            "MsiServiceConfigFailureActions\tName\tEvent\tResetPeriod\tRebootMessage\tCommand\tActions\tDelayActions\tComponent_",
            "s72\ts255\ti4\tI4\tL255\tL255\tL255\tL255\ts72",
            "MsiServiceConfigFailureActions",
            &[row([
                "Recovery",
                "LockstepUpdater",
                "5",
                "86400",
                "",
                "",
                "1[~]1[~]1",
                "5000[~]30000[~]60000",
                "Supervisor",
            ])],
        ),
        // 4: also when it ends by itself with an error; 5: an identity of its own in access lists, unrestricted.
        table(
            "MsiServiceConfig",
            "MsiServiceConfig\tName\tEvent\tConfigType\tArgument\tComponent_",
            "s72\ts255\ti4\ti4\tS255\ts72",
            "MsiServiceConfig",
            &[
                row(["Identity", "LockstepUpdater", "5", "5", "1", "Supervisor"]),
                row(["OnError", "LockstepUpdater", "5", "4", "1", "Supervisor"]),
            ],
        ),
    ]
}

/// Properties that are added to those of the `.wxs` files.
pub fn properties() -> [(&'static str, &'static str); 4] {
    [
        ("SecureCustomProperties", SECURE),
        ("MsiHiddenProperties", HIDDEN),
        // Never a reboot that nobody asked for: exit code 3010 says that one is wanted.
        ("REBOOT", "ReallySuppress"),
        // Nobody's program is ended; what is in use is replaced at the next start.
        ("MSIRESTARTMANAGERCONTROL", "DisableShutdown"),
    ]
}

fn custom_actions(kind: Kind) -> Table {
    let setup = |name: &str, kind: u32, words: &str| row([name, &kind.to_string(), SETUP, words, ""]);
    let keep = |name: &str, property: &str, value: &str| row([name, &SET.to_string(), property, value, ""]);
    let mut rows = vec![
        setup("AdoptUpdater", DEFERRED, r#"adopt "[SETUPDIR]lockstep-updater.lpk""#),
        setup("Configure", DEFERRED + HIDE_TARGET, CONFIGURE),
        keep("KeepPolicy", "KEEPPOLICY", "[POLICY]"),
        keep("KeepServerUrl", "KEEPSERVERURL", "[SERVERURL]"),
        setup("Remove", DEFERRED + CONTINUE, "remove"),
        setup("StopWait", DEFERRED + CONTINUE, "stop-wait"),
    ];
    if kind == Kind::Connector {
        rows.insert(0, setup("AdoptConnector", DEFERRED, r#"adopt "[SETUPDIR]lockstep-connector.lpk""#));
    }
    table("CustomAction", "Action\tType\tSource\tTarget\tExtendedType", "s72\ti2\tS72\tS255\tI4", "Action", &rows)
}

/// Everything, in its order. An earlier version is removed within the transaction: when the new one fails, the old one is back.
fn sequence(kind: Kind) -> Table {
    /// Something was said; or it is new here, and what lies beside it says where it belongs.
    const GIVEN: &str =
        r#"(SERVERURL OR POLICY OR ENROLLMENTKEY OR ROOTJSON OR SITEJSON OR NOT Installed) AND NOT (&Updater=2)"#;
    /// Its feature is not on its way out (2: `INSTALLSTATE_ABSENT`).
    const STAYS: &str = "NOT (&Updater=2)";
    let mut rows: Vec<(&str, &str, u32)> = vec![
        ("FindRelatedProducts", "", 25),
        ("AppSearch", "", 50),
        ("KeepServerUrl", "SERVERURL", 51),
        ("KeepPolicy", "POLICY", 52),
        ("LaunchConditions", "", 100),
        ("ValidateProductID", "", 700),
        ("CostInitialize", "", 800),
        ("FileCost", "", 900),
        ("CostFinalize", "", 1000),
        ("MigrateFeatureStates", "", 1200),
        ("InstallValidate", "", 1400),
        ("InstallInitialize", "", 1500),
        ("RemoveExistingProducts", "", 1510),
        ("ProcessComponents", "", 1600),
        ("UnpublishFeatures", "", 1800),
        // Stopping a service is asking it to; this waits until it has.
        ("StopWait", "Installed AND SETUPFOUND", 1850),
        ("StopServices", "VersionNT", 1900),
        ("DeleteServices", "VersionNT", 2000),
        ("Remove", r#"REMOVE="ALL" AND NOT UPGRADINGPRODUCTCODE AND SETUPFOUND"#, 2100),
        ("RemoveRegistryValues", "", 2600),
        ("RemoveFiles", "", 3500),
        ("RemoveFolders", "", 3600),
        ("CreateFolders", "", 3700),
        ("InstallFiles", "", 4000),
        ("WriteRegistryValues", "", 5000),
        ("AdoptUpdater", STAYS, 5100),
        ("AdoptConnector", STAYS, 5110),
        ("Configure", GIVEN, 5120),
        ("InstallServices", "VersionNT", 5800),
        ("MsiConfigureServices", "VersionNT >= 600", 5850),
        ("StartServices", "VersionNT", 5900),
        ("RegisterUser", "", 6000),
        ("RegisterProduct", "", 6100),
        ("PublishFeatures", "", 6300),
        ("PublishProduct", "", 6400),
        ("InstallFinalize", "", 6600),
    ];
    rows.retain(|(action, ..)| kind == Kind::Connector || *action != "AdoptConnector");
    let rows: Vec<Vec<String>> = rows.iter().map(|(a, c, n)| row([*a, *c, &n.to_string()])).collect();
    table("InstallExecuteSequence", "Action\tCondition\tSequence", "s72\tS255\tI2", "Action", &rows)
}

/// What is replaced, and what is found: an earlier version, this very version from another build, a later one, the other package.
/// What is replaced is told which features go, so that its `REMOVE` is a list: a removal for good says `ALL`.
fn upgrade(kind: Kind, version: &str) -> Table {
    // 1: features are taken over; 2: only found; 256, 512: the bound itself is included.
    const TAKE: &str = "1";
    const FIND: &str = "2";
    let own = kind.upgrade_code();
    let mut rows = vec![
        row([own, "", version, "", TAKE, kind.features(), "WIX_UPGRADE_DETECTED"]),
        row([own, version, "", "", FIND, "", "WIX_DOWNGRADE_DETECTED"]),
    ];
    match kind {
        // It brings the updater itself, so that the updater's own package goes.
        Kind::Connector => {
            let updater = Kind::Updater;
            rows.push(row([updater.upgrade_code(), "0.0.0", "", "", "256", updater.features(), "UPDATERFOUND"]));
        }
        Kind::Updater => rows.push(row([Kind::Connector.upgrade_code(), "0.0.0", "", "", "258", "", "CONNECTORFOUND"])),
    }
    table(
        "Upgrade",
        "UpgradeCode\tVersionMin\tVersionMax\tLanguage\tAttributes\tRemove\tActionProperty",
        "s38\tS20\tS20\tS255\ti4\tS255\ts72",
        "UpgradeCode\tVersionMin\tVersionMax\tLanguage\tAttributes",
        &rows,
    )
}

/// Why nothing is installed, in words.
fn launch_conditions(kind: Kind) -> Table {
    let mut rows = vec![
        row([
            "NOT WIX_DOWNGRADE_DETECTED",
            "A newer version of [ProductName] is installed on this computer already. Remove it first if you really want this older one.",
        ]),
        row(["VersionNT >= 603 AND VersionNT64", "[ProductName] needs Windows 10 or later, 64 bits."]),
        row(["Privileged", "[ProductName] is installed for the whole computer: an administrator has to do it."]),
    ];
    if kind == Kind::Updater {
        rows.push(row([
            "NOT CONNECTORFOUND OR Installed",
            "Lockstep Connector is installed on this computer, and has brought the updater along.",
        ]));
    }
    table("LaunchCondition", "Condition\tDescription", "s255\tl255", "Condition", &rows)
}

/// 8: never advertised; 16: nobody takes it away.
fn features(kind: Kind) -> Table {
    let mut rows = vec![row([
        "Updater",
        "",
        "Updater",
        "The service that keeps programs in step with the server",
        "2",
        "1",
        "",
        "24",
    ])];
    if kind == Kind::Connector {
        rows.push(row(["Connector", "", "Connector", "The offline mailbox for your mail program", "4", "1", "", "24"]));
        let what = "Starts the connector when somebody signs in to this computer";
        rows.push(row(["SignIn", "", "Start at sign-in", what, "6", "1", "", "8"]));
    }
    table(
        "Feature",
        "Feature\tFeature_Parent\tTitle\tDescription\tDisplay\tLevel\tDirectory_\tAttributes",
        "s38\tS38\tL64\tL255\tI2\ti2\tS72\ti2",
        "Feature",
        &rows,
    )
}
