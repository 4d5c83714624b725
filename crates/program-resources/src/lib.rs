//! For build scripts: what Windows shows of a program (in the task manager, in its list of what starts at sign-in, in the prompts of
//! User Account Control), and what the program wants of Windows. Nothing elsewhere.

#![forbid(unsafe_code)]

use std::{env, error::Error, fs, path::Path, process::Command};

/// Gives binaries of the package that is being built a manifest, and version information with their descriptions. The version is
/// `LOCKSTEP_VERSION`, or else the package's.
///
/// # Errors
/// When the compiler for resources (`windres`) is missing or refuses, or this is no build script.
pub fn embed(manifest: &str, programs: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|v| v == value);
    if !is("CARGO_CFG_TARGET_OS", "windows") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return Ok(());
    }
    println!("cargo::rerun-if-env-changed=LOCKSTEP_VERSION");
    let version = env::var("LOCKSTEP_VERSION").or_else(|_| env::var("CARGO_PKG_VERSION"))?;
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    fs::write(out.join("program.manifest"), manifest)?;
    let windres = format!("{}-w64-mingw32-windres", env::var("CARGO_CFG_TARGET_ARCH")?);
    for (program, description) in programs {
        let (script, object) = (out.join(format!("{program}.rc")), out.join(format!("{program}.o")));
        fs::write(&script, resources(program, description, &version))?;
        let done = Command::new(&windres).current_dir(out).args(["-O", "coff"]).arg(&script).arg(&object).status()?;
        if !done.success() {
            return Err(format!("windres ended with {done}").into());
        }
        println!("cargo::rustc-link-arg-bin={program}={}", object.display());
    }
    Ok(())
}

fn resources(program: &str, description: &str, version: &str) -> String {
    // Four numbers; what follows a hyphen has no place there.
    let numbers = version.split(['-', '+']).next().unwrap_or_default().replace('.', ",");
    let file = format!("{program}.exe");
    let texts = [
        ("FileDescription", description),
        ("ProductName", "Lockstep"),
        ("OriginalFilename", &file),
        ("FileVersion", version),
        ("ProductVersion", version),
    ];
    let texts: String = texts.iter().map(|(name, value)| format!("VALUE \"{name}\", \"{value}\"\n")).collect();
    format!(
        "1 24 \"program.manifest\"\n1 VERSIONINFO\nFILEVERSION {numbers},0\nPRODUCTVERSION {numbers},0\nBEGIN\n\
         BLOCK \"StringFileInfo\"\nBEGIN\nBLOCK \"040904b0\"\nBEGIN\n{texts}END\nEND\n\
         BLOCK \"VarFileInfo\"\nBEGIN\nVALUE \"Translation\", 0x409, 1200\nEND\nEND\n"
    )
}
