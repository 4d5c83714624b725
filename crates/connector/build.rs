//! On Windows: what the program is called in the task manager and in the prompts of User Account Control, and that it wants the
//! system's present controls, sharp on every screen, and no more rights than its user has.

use std::{env, error::Error, fs, path::Path, process::Command};

const MANIFEST: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
  <dependency><dependentAssembly>
    <assemblyIdentity type="win32" name="Microsoft.Windows.Common-Controls" version="6.0.0.0" processorArchitecture="*" publicKeyToken="6595b64144ccf1df" language="*"/>
  </dependentAssembly></dependency>
  <trustInfo xmlns="urn:schemas-microsoft-com:asm.v3"><security><requestedPrivileges>
    <requestedExecutionLevel level="asInvoker" uiAccess="false"/>
  </requestedPrivileges></security></trustInfo>
  <compatibility xmlns="urn:schemas-microsoft-com:compatibility.v1"><application>
    <supportedOS Id="{8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a}"/>
  </application></compatibility>
  <application xmlns="urn:schemas-microsoft-com:asm.v3"><windowsSettings>
    <dpiAwareness xmlns="http://schemas.microsoft.com/SMI/2016/WindowsSettings">PerMonitorV2</dpiAwareness>
    <longPathAware xmlns="http://schemas.microsoft.com/SMI/2016/WindowsSettings">true</longPathAware>
  </windowsSettings></application>
</assembly>
"#;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|v| v == value);
    if !is("CARGO_CFG_TARGET_OS", "windows") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return Ok(());
    }
    println!("cargo::rerun-if-env-changed=LOCKSTEP_VERSION");
    let version = env::var("LOCKSTEP_VERSION").or_else(|_| env::var("CARGO_PKG_VERSION"))?;
    let out = env::var("OUT_DIR")?;
    let (script, object) = (Path::new(&out).join("connector.rc"), Path::new(&out).join("connector.o"));
    fs::write(Path::new(&out).join("connector.manifest"), MANIFEST)?;
    fs::write(&script, resources(&version))?;
    let mut compiler = Command::new(format!("{}-w64-mingw32-windres", env::var("CARGO_CFG_TARGET_ARCH")?));
    let done = compiler.current_dir(&out).arg("-O").arg("coff").arg(&script).arg(&object).status()?;
    if !done.success() {
        return Err(format!("windres ended with {done}").into());
    }
    println!("cargo::rustc-link-arg-bins={}", object.display());
    Ok(())
}

fn resources(version: &str) -> String {
    // Four numbers; what follows a hyphen has no place there.
    let numbers = version.split(['-', '+']).next().unwrap_or_default().replace('.', ",");
    let texts = [
        ("FileDescription", "Lockstep Connector"),
        ("ProductName", "Lockstep"),
        ("OriginalFilename", "lockstep-connector.exe"),
        ("FileVersion", version),
        ("ProductVersion", version),
    ];
    let texts: String = texts.iter().map(|(name, value)| format!("VALUE \"{name}\", \"{value}\"\n")).collect();
    format!(
        "1 24 \"connector.manifest\"\n1 VERSIONINFO\nFILEVERSION {numbers},0\nPRODUCTVERSION {numbers},0\nBEGIN\n\
         BLOCK \"StringFileInfo\"\nBEGIN\nBLOCK \"040904b0\"\nBEGIN\n{texts}END\nEND\n\
         BLOCK \"VarFileInfo\"\nBEGIN\nVALUE \"Translation\", 0x409, 1200\nEND\nEND\n"
    )
}
