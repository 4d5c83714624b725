//! The rig itself: PCs that are switched on, run programs, lose power and are told apart.
#![cfg(unix)]

use wine_rig::{Answer, Asked, Pc, Screen, Value};

const KEY: &str = r"HKLM\Software\LockstepRig";

#[test]
fn a_pc_runs_programs_keeps_its_registry_and_forgets_them_with_the_power() {
    let mut pc = Pc::new("rig-power").unwrap();
    assert!(pc.run("cmd", &["/c", "ver"]).unwrap_err().to_string().contains("is off"));
    pc.power_on().unwrap();

    let version = pc.must("cmd", &["/c", "ver"]).unwrap();
    assert!(version.contains("Windows 10."), "{version}");
    assert!(!version.contains('\r'));
    assert_eq!(pc.run_line("cmd /c exit 3010").unwrap().code, 3010, "more than the eight bits that Linux sees");
    let missing = pc.run(r"C:\no-such.exe", &[]).unwrap_err().to_string();
    assert!(missing.ends_with("error 2"), "{missing}");

    for value in [Value::Text("ä \"x\" \\".into()), Value::Number(7), Value::Many(vec!["a".into(), "b c".into()])] {
        pc.set_registry(KEY, "v", &value).unwrap();
        assert_eq!(pc.registry_value(KEY, "v").unwrap(), Some(value));
    }
    std::fs::write(pc.path(r"C:\windows\temp\kept.txt"), "kept").unwrap();
    assert_eq!(pc.must("cmd", &["/c", "type", r"C:\windows\temp\kept.txt"]).unwrap(), "kept");
    assert_eq!(pc.path(r"C:\WINDOWS\System32"), pc.c().join("windows/system32"));
    assert_eq!(pc.windows(&pc.c().join("windows")), r"C:\windows");

    let log = tempfile::NamedTempFile::new().unwrap();
    let mut waiting = pc.spawn("a program", "cmd", &["/c", "echo here & pause"], log.path()).unwrap();
    waiting.wait_for("here", std::time::Duration::from_secs(60)).unwrap();
    pc.power_cut().unwrap();
    assert!(!pc.is_on());
    mail_rig::process::wait_until("it ends with the power", std::time::Duration::from_secs(60), || {
        Ok((!waiting.is_running()).then_some(()))
    })
    .unwrap();

    pc.power_on().unwrap();
    assert_eq!(pc.registry(KEY).unwrap().len(), 1);
    pc.off().unwrap();
}

#[test]
fn pcs_are_told_apart_and_reach_only_what_is_plugged_in() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let mut pcs = [Pc::apart("rig-one").unwrap(), Pc::apart("rig-two").unwrap()];
    let mut ids = Vec::new();
    for pc in &mut pcs {
        pc.power_on().unwrap();
        let name = pc.must("cmd", &["/c", "echo %COMPUTERNAME%"]).unwrap();
        assert_eq!(name.trim(), pc.name().to_uppercase());
        let tcpip = r"HKLM\System\CurrentControlSet\Services\Tcpip\Parameters";
        assert_eq!(pc.registry_text(tcpip, "Hostname").unwrap().as_deref(), Some(pc.name()));
        ids.push(pc.registry_text(r"HKLM\Software\Microsoft\Cryptography", "MachineGuid").unwrap().unwrap());
    }
    assert_ne!(ids[0], ids[1]);
    pcs[0].plug(port).unwrap();
    let reach = |pc: &Pc| {
        let mut socat = pc.command("socat");
        let tried = socat.args(["-u", "OPEN:/dev/null", &format!("TCP:127.0.0.1:{port}")]).output();
        tried.unwrap().status.success()
    };
    // The cable's end on the PC is being plugged in.
    let plugged = || Ok(reach(&pcs[0]).then_some(()));
    mail_rig::process::wait_until("the server", std::time::Duration::from_secs(60), plugged).unwrap();
    assert!(!reach(&pcs[1]));
    pcs[0].unplug();
    assert!(!reach(&pcs[0]));
}

/// A program that asks for an administrator's rights, with a question before it.
const ASKING: &str = r#"
#include <windows.h>
#include <shellapi.h>
int wmain(void) {
    SHELLEXECUTEINFOW order = { .cbSize = sizeof order, .fMask = 0x4540, .lpVerb = L"runas", .nShow = SW_HIDE,
        .lpFile = L"C:\\windows\\system32\\cmd.exe", .lpParameters = L"/c exit 7", .lpDirectory = L"C:\\windows" };
    HANDLE own; TOKEN_ELEVATION rights = { 9 }; DWORD size;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &own)) return 90;
    if (!GetTokenInformation(own, TokenElevation, &rights, sizeof rights, &size) || rights.TokenIsElevated) return 91;
    if (MessageBoxW(0, L"Shall it\nbe?", L"A question", 0x50041) != IDOK) return 92;
    if (!ShellExecuteExW(&order)) return GetLastError() == ERROR_CANCELLED ? 23 : 93;
    DWORD code = 94;
    WaitForSingleObject(order.hProcess, INFINITE);
    GetExitCodeProcess(order.hProcess, &code);
    return (int)code; }
"#;

#[test]
fn a_user_without_rights_is_asked_and_the_answer_counts() {
    let mut pc = Pc::new("rig-consent").unwrap();
    let source = pc.c().join("asking.c");
    std::fs::write(&source, ASKING).unwrap();
    let mut compiler = std::process::Command::new("x86_64-w64-mingw32-gcc");
    compiler.args(["-Os", "-s", "-municode", "-o"]).arg(pc.c().join("asking.exe")).arg(&source);
    assert!(compiler.status().unwrap().success());
    pc.power_on().unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    for (answer, expected) in [(Answer::No, 23), (Answer::Yes, 7)] {
        pc.answer_prompts(answer).unwrap();
        let mut asking = pc.spawn_as_user("a program", r"C:\asking.exe", &[], log.path()).unwrap();
        let code =
            mail_rig::process::wait_until("its end", std::time::Duration::from_secs(60), || Ok(asking.exit_code()));
        assert_eq!(code.unwrap(), Some(expected), "{answer:?}");
    }
    let question = Asked::Question { title: "A question".into(), text: "Shall it be?".into(), kind: 0x5_0041 };
    let [verb, file, parameters, directory] =
        ["runas", r"C:\windows\system32\cmd.exe", "/c exit 7", r"C:\windows"].map(String::from);
    let prompt = Asked::Prompt { verb, file, parameters, directory, mask: 0x4540, show: 0 };
    assert_eq!(pc.asked().unwrap(), [question.clone(), prompt.clone(), question, prompt]);
}

#[test]
fn a_window_is_seen_on_the_screen() {
    let screen = Screen::new().unwrap();
    assert_eq!(screen.colours().unwrap(), 1, "empty");
    let mut pc = Pc::new("rig-screen").unwrap();
    pc.show_on(&screen).unwrap();
    pc.power_on().unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let _editor = pc.spawn("an editor", "explorer", &["/desktop=pc,1000x700", "notepad"], log.path()).unwrap();
    mail_rig::process::wait_until("a window", std::time::Duration::from_secs(60), || {
        Ok((screen.colours()? > 3).then_some(()))
    })
    .unwrap();
}
