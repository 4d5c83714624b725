//! The service that Windows' service manager sees: this program, which starts the active version of the updater.

use std::{ffi::OsString, path::Path, process::ExitCode, sync::OnceLock, time::Duration};

use lockstep_updater::platform::service as names;
use windows_service::{
    define_windows_service,
    service::{ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType},
    service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle},
    service_dispatcher,
};

use super::{child::Signals, supervise, trial::Files};

/// The updater may take this long to end, and more.
const LONGEST_STOP: Duration = Duration::from_secs(20);
/// `ERROR_FAILED_SERVICE_CONTROLLER_CONNECT`: the service manager has not started this process.
const NOT_A_SERVICE: i32 = 1063;

static TASK: OnceLock<(Files, Duration)> = OnceLock::new();

define_windows_service!(service_entry, serve);

/// Runs as a service if the service manager has started this process, else until the console says so.
pub fn run(files: Files, patience: Duration) -> ExitCode {
    // Only the whole computer has a service.
    if files.root != Path::new("/") {
        return console(&files, patience);
    }
    let (files, patience) = TASK.get_or_init(|| (files, patience));
    match service_dispatcher::start(names::NAME, service_entry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(windows_service::Error::Winapi(e)) if e.raw_os_error() == Some(NOT_A_SERVICE) => console(files, *patience),
        Err(error) => {
            eprintln!("lockstep-supervisor: the service manager cannot be reached: {error}");
            ExitCode::FAILURE
        }
    }
}

/// For whoever has started it by hand.
fn console(files: &Files, patience: Duration) -> ExitCode {
    let signals = Signals::default();
    let told = signals.clone();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lockstep-supervisor: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    std::thread::spawn(move || match runtime.block_on(lockstep_updater::platform::asked_to_end()) {
        Ok(()) => told.end(),
        Err(error) => eprintln!("lockstep-supervisor: cannot be asked to end: {error}"),
    });
    supervise(files, patience, signals)
}

fn serve(_: Vec<OsString>) {
    let Some((files, patience)) = TASK.get() else { return };
    let signals = Signals::default();
    let asked = signals.clone();
    let handler = move |control| match control {
        ServiceControl::Stop | ServiceControl::Shutdown | ServiceControl::Preshutdown => {
            asked.end();
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let status = match service_control_handler::register(names::NAME, handler) {
        Ok(status) => status,
        Err(error) => return report(&format!("the service manager does not take this service: {error}")),
    };
    let accepted = ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN | ServiceControlAccept::PRESHUTDOWN;
    tell(&status, ServiceState::Running, accepted);
    report("the service has started");
    supervise(files, *patience, signals);
    report("the service has ended, as it was asked to");
    tell(&status, ServiceState::Stopped, ServiceControlAccept::empty());
}

fn tell(status: &ServiceStatusHandle, state: ServiceState, accepted: ServiceControlAccept) {
    let told = status.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: accepted,
        exit_code: ServiceExitCode::Win32(0),
        checkpoint: 0,
        wait_hint: LONGEST_STOP,
        process_id: None,
    });
    if let Err(error) = told {
        report(&format!("the service manager cannot be told: {error}"));
    }
}

/// An entry in Windows' event log.
pub fn report(words: &str) {
    lockstep_updater::platform::service::log(names::Level::Information, words);
}
