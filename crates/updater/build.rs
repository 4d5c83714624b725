//! On Windows: what the programs are called in the task manager, in its list of what starts at sign-in and in the prompts of User
//! Account Control, and that they want no more rights than whoever starts them has.

use std::{env, error::Error, fs, path::Path, process::Command};

const MANIFEST: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
  <trustInfo xmlns="urn:schemas-microsoft-com:asm.v3"><security><requestedPrivileges>
    <requestedExecutionLevel level="asInvoker" uiAccess="false"/>
  </requestedPrivileges></security></trustInfo>
  <compatibility xmlns="urn:schemas-microsoft-com:compatibility.v1"><application>
    <supportedOS Id="{8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a}"/>
  </application></compatibility>
  <application xmlns="urn:schemas-microsoft-com:asm.v3"><windowsSettings>
    <longPathAware xmlns="http://schemas.microsoft.com/SMI/2016/WindowsSettings">true</longPathAware>
  </windowsSettings></application>
</assembly>
"#;
const PROGRAMS: [(&str, &str); 3] = [
    ("lockstep-updater", "Lockstep Updater"),
    ("lockstep-launcher", "Lockstep Launcher"),
    ("lockstep-supervisor", "Lockstep Updater Service"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|v| v == value);
    if !is("CARGO_CFG_TARGET_OS", "windows") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return Ok(());
    }
    println!("cargo::rerun-if-env-changed=LOCKSTEP_VERSION");
    let version = env::var("LOCKSTEP_VERSION").or_else(|_| env::var("CARGO_PKG_VERSION"))?;
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    fs::write(out.join("programs.manifest"), MANIFEST)?;
    let windres = format!("{}-w64-mingw32-windres", env::var("CARGO_CFG_TARGET_ARCH")?);
    for (program, description) in PROGRAMS {
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
        "1 24 \"programs.manifest\"\n1 VERSIONINFO\nFILEVERSION {numbers},0\nPRODUCTVERSION {numbers},0\nBEGIN\n\
         BLOCK \"StringFileInfo\"\nBEGIN\nBLOCK \"040904b0\"\nBEGIN\n{texts}END\nEND\n\
         BLOCK \"VarFileInfo\"\nBEGIN\nVALUE \"Translation\", 0x409, 1200\nEND\nEND\n"
    )
}
