//! What the programs are called on Windows, and that they want no more rights than whoever starts them has.

use std::error::Error;

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
    program_resources::embed(MANIFEST, &PROGRAMS)
}
