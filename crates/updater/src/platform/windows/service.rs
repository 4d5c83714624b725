//! The service as the service manager knows it: made, started, stopped, removed; and its entries in the event log.

#![expect(unsafe_code, reason = "Windows' calls for the event log take pointers")]

use std::{
    ffi::OsStr,
    io,
    path::Path,
    ptr::{null, null_mut},
    thread::sleep,
    time::{Duration, Instant},
};

use windows_service::{
    Error,
    service::{
        Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceFailureActions,
        ServiceFailureResetPeriod, ServiceInfo, ServiceSidType, ServiceStartType, ServiceState, ServiceType,
    },
    service_manager::{ServiceManager, ServiceManagerAccess},
};
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
    ReportEventW,
};

use super::{
    super::values,
    registry::{self, Written},
    wide,
};

/// The service's name.
pub const NAME: &str = values::SERVICE;
/// It starts and ends within this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Where the event log looks for sources.
const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
/// Windows' own program whose messages are nothing but their first argument, for the numbers 1 to 1000.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";
/// `ERROR_SERVICE_DOES_NOT_EXIST`.
const NOT_THERE: i32 = 1060;
/// `ERROR_SERVICE_NOT_ACTIVE`.
const NOT_RUNNING: i32 = 1062;
/// `ERROR_SERVICE_CANNOT_ACCEPT_CTRL`.
const NOT_NOW: i32 = 1061;
/// `ERROR_SERVICE_ALREADY_RUNNING`.
const RUNNING: i32 = 1056;

/// Makes the service, or gives the one that is there its final settings. What an old Windows does not know of is left out.
///
/// # Errors
/// Whatever the service manager says.
pub fn install(supervisor: &Path) -> io::Result<()> {
    let info = ServiceInfo {
        name: NAME.into(),
        display_name: values::SERVICE_DISPLAY.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: supervisor.into(),
        launch_arguments: vec![],
        dependencies: vec![],
        // LocalSystem.
        account_name: None,
        account_password: None,
    };
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = ServiceManager::local_computer(None::<&str>, access).map_err(plain)?;
    let service = match open() {
        Ok(Some(service)) => {
            service.change_config(&info).map_err(plain)?;
            service
        }
        _ => manager.create_service(&info, ServiceAccess::ALL_ACCESS).map_err(plain)?,
    };
    describe(&service);
    event_source()
}

/// The finer settings. One that this Windows does not take is logged, and the service works without.
fn describe(service: &Service) {
    let restart = |after: u32| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay: Duration::from_millis(after.into()),
    };
    let actions = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(Duration::from_secs(values::SERVICE_RESET.into())),
        reboot_msg: None,
        command: None,
        actions: Some(values::SERVICE_RESTARTS.iter().map(|after| restart(*after)).collect()),
    };
    for (what, done) in [
        ("description", service.set_description(values::SERVICE_DESCRIPTION)),
        ("recovery actions", service.update_failure_actions(actions)),
        ("recovery after an end with an error", service.set_failure_actions_on_non_crash_failures(true)),
        ("SID", service.set_config_service_sid_info(ServiceSidType::Unrestricted)),
    ] {
        if let Err(error) = done {
            tracing::warn!(what, error = %plain(error), "the service does without");
        }
    }
}

/// Starts the service, and waits until it runs.
///
/// # Errors
/// Whatever the service manager says; `NotFound` when there is none.
pub fn start() -> io::Result<()> {
    let service = open()?.ok_or(io::ErrorKind::NotFound)?;
    match service.start::<&OsStr>(&[]) {
        Err(Error::Winapi(e)) if e.raw_os_error() == Some(RUNNING) => {}
        other => other.map_err(plain)?,
    }
    reach(&service, ServiceState::Running)
}

/// Whether there is such a service.
pub fn is_installed() -> bool {
    open().is_ok_and(|service| service.is_some())
}

/// Asks the service to end, and waits until it has; no error if it does not run, or there is none.
///
/// # Errors
/// Whatever the service manager says; `TimedOut`.
pub fn stop_and_wait() -> io::Result<()> {
    let Some(service) = open()? else { return Ok(()) };
    let until = Instant::now() + PATIENCE;
    loop {
        match service.stop() {
            Err(Error::Winapi(e)) if e.raw_os_error() == Some(NOT_RUNNING) => return Ok(()),
            // It is just starting.
            Err(Error::Winapi(e)) if e.raw_os_error() == Some(NOT_NOW) && Instant::now() < until => sleep(LOOK),
            other => {
                other.map_err(plain)?;
                break;
            }
        }
    }
    reach(&service, ServiceState::Stopped)
}

/// Stops and removes the service and its source in the event log; no error if there is none.
///
/// # Errors
/// Whatever the service manager says.
pub fn uninstall() -> io::Result<()> {
    stop_and_wait()?;
    if let Some(service) = open()? {
        service.delete().map_err(plain)?;
    }
    registry::remove(&source())
}

fn reach(service: &Service, wanted: ServiceState) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    while service.query_status().map_err(plain)?.current_state != wanted {
        if Instant::now() >= until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("the service is not {wanted:?} yet")));
        }
        sleep(LOOK);
    }
    Ok(())
}

fn open() -> io::Result<Option<Service>> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).map_err(plain)?;
    match manager.open_service(NAME, ServiceAccess::ALL_ACCESS) {
        Ok(service) => Ok(Some(service)),
        Err(Error::Winapi(e)) if e.raw_os_error() == Some(NOT_THERE) => Ok(None),
        Err(error) => Err(plain(error)),
    }
}

fn plain(error: Error) -> io::Error {
    match error {
        Error::Winapi(error) => error,
        other => io::Error::other(other),
    }
}

fn event_source() -> io::Result<()> {
    let types = EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE;
    registry::write(&source(), "EventMessageFile", Written::Expanded(MESSAGES))?;
    registry::write(&source(), "TypesSupported", Written::Number(types.into()))
}

fn source() -> String {
    format!(r"{SOURCES}\{}", values::EVENT_SOURCE)
}

/// How grave an entry of the event log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Somebody has to look.
    Error,
    /// Somebody may want to look.
    Warning,
    /// What has happened.
    Information,
}

/// Writes an entry into the event log, where its source is `Lockstep Updater`. What cannot be written is lost.
pub fn log(level: Level, words: &str) {
    let (source, words) = (wide(values::EVENT_SOURCE), wide(words));
    let kind = match level {
        Level::Error => EVENTLOG_ERROR_TYPE,
        Level::Warning => EVENTLOG_WARNING_TYPE,
        Level::Information => EVENTLOG_INFORMATION_TYPE,
    };
    // SAFETY: a text that ends with a zero; no other computer.
    let log = unsafe { RegisterEventSourceW(null(), source.as_ptr()) };
    if log.is_null() {
        return;
    }
    let texts = [words.as_ptr()];
    // SAFETY: one text that ends with a zero, no data, no user; the handle is closed after.
    unsafe {
        ReportEventW(log, kind, 0, 1, null_mut(), 1, 0, texts.as_ptr(), null());
        DeregisterEventSource(log);
    }
}
