//! `lockstep pack`: a directory becomes a package.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use protocol::{
    Version,
    product::{Platform, ProductId, parse_version},
};
use release::{
    carried_root,
    package::{self, Description},
};
use serde_json::json;

use super::running::RunningArgs;
use crate::terminal::count;

/// What to pack.
#[derive(Debug, Clone, clap::Args)]
pub struct PackArgs {
    /// Directory with the product's files
    pub dir: PathBuf,
    /// Name of the product, such as connector
    #[arg(long)]
    pub product: ProductId,
    /// Its version
    #[arg(long, value_parser = parse_version)]
    pub version: Version,
    /// The program to start, relative to DIR, such as bin/lockstep-connector
    #[arg(long)]
    pub program: String,
    /// Argument with which the program tells by its exit code that it can run; repeat for more
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub self_check: Vec<String>,
    /// What becomes of running instances
    #[command(flatten)]
    pub running: RunningArgs,
    /// Let the program carry this root of trust, such as the root.json that `publish` wrote beside the online keys: an
    /// installer then believes it, and not what lies beside it
    #[arg(long, value_name = "FILE")]
    pub carry_root: Option<PathBuf>,
    /// Operating system it runs on: linux, windows
    #[arg(long, default_value = std::env::consts::OS)]
    pub os: String,
    /// Processor it runs on: x86_64, aarch64
    #[arg(long, default_value = std::env::consts::ARCH)]
    pub arch: String,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Print what was packed as JSON
    #[arg(long)]
    pub json: bool,
}

/// Packs.
pub fn pack(args: &PackArgs) -> anyhow::Result<()> {
    ensure!(args.dir.is_dir(), "{} is not a directory", args.dir.display());
    let description = Description {
        product: args.product.clone(),
        version: args.version.clone(),
        platform: Platform { os: args.os.clone(), arch: args.arch.clone() },
        program: args.program.clone(),
        self_check: args.self_check.clone(),
        restart: args.running.restart(),
        health: args.running.health(),
    };
    let trailer = args.carry_root.as_deref().map(|root| trailer(root, &args.dir.join(&args.program))).transpose()?;
    let bar = ProgressBar::new(0).with_style(style());
    let parent = args.output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(".".as_ref());
    refuse_inside(&args.dir, parent)?;
    let mut beside = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(parent)
        .with_context(|| format!("cannot write into {}", parent.display()))?;
    let mut out = std::io::BufWriter::new(beside.as_file_mut());
    let manifest = package::pack_with_trailer(
        &args.dir,
        &description,
        trailer.as_deref().unwrap_or_default(),
        &mut out,
        &mut |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        },
    )
    .with_context(|| format!("cannot pack {}", args.dir.display()))?;
    drop(out);
    bar.finish_and_clear();
    let length = beside.as_file().metadata()?.len();
    release::durable::make_public(beside.as_file())?;
    beside.as_file().sync_all()?;
    beside.persist(&args.output).with_context(|| format!("cannot write {}", args.output.display()))?;

    if args.json {
        println!("{}", json!({ "file": args.output, "length": length, "manifest": manifest }));
    } else {
        println!(
            "{}: {} {} for {}, {}, {} bytes packed into {length}",
            args.output.display(),
            args.product,
            args.version,
            description.platform,
            count(manifest.files.len(), "file"),
            manifest.content_size()
        );
    }
    Ok(())
}

/// What the program gets behind its own bytes.
fn trailer(root: &Path, program: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = |path: &Path| format!("cannot use {}", path.display());
    let mut file = File::open(program).with_context(|| cannot(program))?;
    ensure!(
        carried_root::read(&mut file).with_context(|| cannot(program))?.is_none(),
        "{} carries a root already; pack the program as it was built",
        program.display()
    );
    let mut bytes = Vec::new();
    File::open(root)
        .and_then(|file| file.take(carried_root::MAX_ROOT + 1).read_to_end(&mut bytes))
        .with_context(|| cannot(root))?;
    carried_root::trailer(&bytes).with_context(|| format!("{} cannot be carried", root.display()))
}

/// A package within the directory would be packed into the next one, and its own unfinished file into itself.
fn refuse_inside(dir: &Path, parent: &Path) -> anyhow::Result<()> {
    let absolute = |path: &Path| path.canonicalize().with_context(|| format!("cannot use {}", path.display()));
    ensure!(
        !absolute(parent)?.starts_with(absolute(dir)?),
        "the package would lie in {}, which is being packed; write it to another directory with -o",
        dir.display()
    );
    Ok(())
}

fn style() -> ProgressStyle {
    // The template is a constant; should it ever be wrong, the plain bar will do.
    ProgressStyle::with_template("Packing {bar:40} {bytes}/{total_bytes} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
