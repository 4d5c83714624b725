//! `cargo xtask`: Lockstep's chores.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::demo::Wishes;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Lockstep's chores", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

const DIST_EXAMPLES: &str = "Examples:
  cargo xtask dist --version 7.3.0
  cargo xtask dist --version 7.3.0 --windows --sign signing.key --certificates chain.pem --timestamp http://timestamp.example.com";

#[derive(Debug, Subcommand)]
enum Chore {
    /// All set-up, and the main job from beginning to end
    Demo {
        /// Leave the demo's folder behind
        #[arg(long)]
        keep: bool,
        /// Play on what has been built before
        #[arg(long)]
        built: bool,
        /// With Windows PCs, under Wine
        #[arg(long)]
        windows: bool,
        /// With the programs for Windows as they are shipped, which take a quarter of an hour to build
        #[arg(long, requires = "windows")]
        shipped: bool,
    },
    /// All set-up, and every test
    Test {
        /// Goes to cargo nextest
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The programs as shipped, and packages of them: for Debian, and MSI for Windows
    #[command(after_help = DIST_EXAMPLES)]
    Dist {
        /// The version that they get [default: the workspace's]
        #[arg(long)]
        version: Option<String>,
        /// Where the packages are put [default: packages in the target directory]
        #[arg(long)]
        out: Option<std::path::PathBuf>,
        /// Debian packages only
        #[arg(long)]
        debian: bool,
        /// MSI packages for Windows only
        #[arg(long, conflicts_with = "debian")]
        windows: bool,
        /// Sign what is for Windows with this key: a file (PEM, PKCS#12) or a token's PKCS#11 URI
        #[arg(long, value_name = "KEY", requires = "certificates", conflicts_with = "debian")]
        sign: Option<String>,
        /// The key's certificate and those above it, in PEM
        #[arg(long, value_name = "FILE")]
        certificates: Option<std::path::PathBuf>,
        /// The library that speaks to the token
        #[arg(long, value_name = "FILE")]
        pkcs11_module: Option<std::path::PathBuf>,
        /// A time-stamping authority (RFC 3161), so that signatures outlive the certificate
        #[arg(long, value_name = "URL", requires = "sign")]
        timestamp: Option<String>,
    },
    /// What must hold before a change lands
    Ci,
    /// Known vulnerabilities in dependencies; needs the RustSec database from the network
    Advisories,
    /// The long runs: every system call, every race, millions of fuzzed inputs; resumable
    Soak(xtask::soak::Arguments),
    /// The figures
    Bench {
        #[command(subcommand)]
        what: Figure,
    },
}

#[derive(Debug, Subcommand)]
enum Figure {
    /// Seconds that users are cut off at the move, and resident memory
    CutOver {
        /// Runs of each size
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Connectors at once
        #[arg(long, value_delimiter = ',', default_value = "1,20")]
        connectors: Vec<usize>,
        /// Measure what has been built before
        #[arg(long)]
        built: bool,
    },
    /// What an idle updater costs, and how long a large package takes
    Updater {
        /// Minutes that it is watched while nothing happens
        #[arg(long, default_value_t = 3)]
        minutes: u64,
        /// Measure this program instead of building one as shipped
        #[arg(long, value_name = "FILE")]
        program: Option<std::path::PathBuf>,
    },
    /// Sizes of the Windows programs and packages, how soon the service answers, and resident memory (under Wine)
    Windows {
        /// Seconds that the idle service is left alone before it is measured
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// Measure what has been built before
        #[arg(long)]
        built: bool,
    },
    /// Seconds and bytes that the upgrade of a mailbox's database from 7.1 to 7.3 costs
    Migrate {
        /// Bytes of mail
        #[arg(long, value_delimiter = ',', default_value = "100MB,1GB,5GB", value_parser = xtask::bench::migrate::parse_size)]
        sizes: Vec<u64>,
        /// Where the stores are made; a little more than the largest size is needed, twice for a while [default: the
        /// system's temporary directory]
        #[arg(long)]
        dir: Option<std::path::PathBuf>,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().chore {
        Chore::Demo { keep, built, windows, shipped } => xtask::demo::demo(Wishes { keep, built, windows, shipped }),
        Chore::Test { arguments } => xtask::tests::test(&arguments),
        Chore::Dist { version, out, debian, windows, sign, certificates, pkcs11_module, timestamp } => {
            use xtask::dist::{
                For,
                sign::{Key, Signer},
            };
            let only = match (debian, windows) {
                (true, _) => Some(For::Debian),
                (_, true) => Some(For::Windows),
                _ => None,
            };
            let out = out.unwrap_or_else(|| xtask::programs::target().join("packages"));
            let key = sign.map(|key| Key::new(&key, pkcs11_module.as_deref())).transpose()?;
            let signer = key.zip(certificates).map(|(key, certificates)| Signer { key, certificates, timestamp });
            xtask::dist::dist(&xtask::dist::Options { version, out, only, signer })
        }
        Chore::Ci => xtask::ci::ci(),
        Chore::Advisories => xtask::ci::advisories(),
        Chore::Soak(arguments) => xtask::soak::soak(&arguments),
        Chore::Bench { what: Figure::CutOver { runs, connectors, built } } => {
            xtask::bench::cut_over::bench(runs, &connectors, built)
        }
        Chore::Bench { what: Figure::Updater { minutes, program } } => xtask::bench::updater::bench(minutes, program),
        Chore::Bench { what: Figure::Windows { seconds, built } } => xtask::bench::windows::bench(seconds, built),
        Chore::Bench { what: Figure::Migrate { sizes, dir } } => xtask::bench::migrate::bench(&sizes, dir.as_deref()),
    }
}
