//! The icon beside the clock, its menu, its notifications and the status window, on a thread of their own with the message loop
//! that such things need.
//!
//! A session without a desktop, as a service or a scheduled task has it, shows nothing; everything else goes on.
//!
//! | module | room for |
//! |---|---|
//! | `notify_icon` | the icon and what pops up beside it |
//! | `window` | the status window |

mod notify_icon;
mod window;

use std::{
    cell::RefCell,
    io,
    ptr::null_mut,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use notify_icon::NotifyIcon;
use tokio::sync::mpsc;
use window::StatusWindow;
use windows_sys::Win32::{
    Foundation::{HWND, LPARAM, LRESULT, POINT, WPARAM},
    System::LibraryLoader::GetModuleHandleW,
    UI::{
        HiDpi::{DPI_AWARENESS_CONTEXT_PER_MONITOR_AWARE_V2, SetProcessDpiAwarenessContext},
        Shell::{NIN_BALLOONUSERCLICK, NIN_SELECT, ShellExecuteW},
        WindowsAndMessaging::{
            AppendMenuW, CreatePopupMenu, CreateWindowExW, DefWindowProcW, DestroyMenu, DestroyWindow,
            DispatchMessageW, FindWindowW, GetCursorPos, GetMessageW, IsDialogMessageW, KillTimer, MF_SEPARATOR,
            MF_STRING, MSG, PostMessageW, PostQuitMessage, RegisterClassExW, RegisterWindowMessageW, SW_SHOWNORMAL,
            SetForegroundWindow, SetMenuDefaultItem, SetTimer, TPM_NONOTIFY, TPM_RETURNCMD, TPM_RIGHTBUTTON,
            TrackPopupMenu, TranslateMessage, WM_APP, WM_CLOSE, WM_CONTEXTMENU, WM_DESTROY, WM_ENDSESSION, WM_NULL,
            WM_TIMER, WNDCLASSEXW, WS_OVERLAPPED,
        },
    },
};

use super::wide;
use crate::tray::{View, Wish};

/// The class of the hidden window that everything hangs on. Others find the running connector of a session by it.
pub const CLASS: &str = "LockstepConnectorTray";

/// What the icon tells.
const FROM_ICON: u32 = WM_APP + 1;
/// The icon was chosen with the keyboard (`NIN_SELECT | NINF_KEY`).
const NIN_KEYSELECT: u32 = NIN_SELECT | 1;
/// There is another view to show.
const VIEW: u32 = WM_APP + 2;
/// With [`VIEW`]: the task bar is a new one.
const NEW_TASKBAR: usize = 1;
/// There is a notification to show, or to take back.
const NOTE: u32 = WM_APP + 3;
/// Somebody wants to see the status window.
const OPEN: u32 = WM_APP + 4;

/// When the icon is tried again, where the desktop was not ready for it: milliseconds.
const AGAIN: u32 = 2000;
const AGAIN_TIMER: usize = 1;

/// How long the session's end is held up for the program to close its files.
const FAREWELL: Duration = Duration::from_secs(4);

const STATUS: usize = 1;
const SYNCHRONISE: usize = 2;
const UPGRADE: usize = 3;
const DIAGNOSTICS: usize = 4;
const QUIT: usize = 5;
const REMOVE: usize = 6;

/// The menu: its entries from above; nothing is a line between them.
const MENU: [Option<(usize, &str)>; 8] = [
    Some((STATUS, "Status")),
    Some((SYNCHRONISE, "Synchronise now")),
    Some((UPGRADE, "Upgrade now")),
    None,
    Some((DIAGNOSTICS, "Diagnostics")),
    Some((REMOVE, "Remove from this account…")),
    None,
    Some((QUIT, "Quit")),
];

/// What the thread and its owner share.
#[derive(Debug)]
struct Shared {
    view: Mutex<View>,
    /// A notification's heading and text. `None`: it is taken back.
    note: Mutex<Option<(String, String)>>,
    window: Mutex<Option<Window>>,
}

/// A window's handle, to post messages to.
#[derive(Debug, Clone, Copy)]
struct Window(HWND);

// SAFETY: messages may be posted to a window from any thread, and nothing else is done with it there.
unsafe impl Send for Window {}

impl Shared {
    fn post(&self, message: u32) {
        if let Some(window) = *lock(&self.window) {
            // SAFETY: the call has no memory to look at; a window that is gone is none any more, which is told.
            unsafe { PostMessageW(window.0, message, 0, 0) };
        }
    }
}

/// The icon, as its owner sees it.
#[derive(Debug)]
pub struct Tray {
    shared: Arc<Shared>,
    wishes: mpsc::UnboundedReceiver<Wish>,
}

impl Tray {
    /// Shows the icon.
    ///
    /// # Errors
    /// When there can be no thread for it.
    pub fn open(view: View) -> io::Result<Self> {
        let shared = Arc::new(Shared { view: Mutex::new(view), note: Mutex::new(None), window: Mutex::new(None) });
        let (tell, wishes) = mpsc::unbounded_channel();
        let theirs = shared.clone();
        std::thread::Builder::new().name("tray".into()).stack_size(256 * 1024).spawn(move || {
            if let Err(error) = serve(&theirs, tell) {
                tracing::info!(%error, "no icon beside the clock");
            }
            *lock(&theirs.window) = None;
        })?;
        Ok(Self { shared, wishes })
    }

    /// Shows this from now on.
    pub fn show(&self, view: View) {
        let mut known = lock(&self.shared.view);
        if *known != view {
            *known = view;
            drop(known);
            self.shared.post(VIEW);
        }
    }

    /// What the user asks for next. Waits for ever where there is nobody to ask.
    pub async fn wish(&mut self) -> Wish {
        match self.wishes.recv().await {
            Some(wish) => wish,
            None => std::future::pending().await,
        }
    }

    /// What shows notifications beside the icon.
    pub fn desktop(&self) -> Desktop {
        Desktop { shared: self.shared.clone() }
    }
}

impl Drop for Tray {
    fn drop(&mut self) {
        self.shared.post(WM_CLOSE);
    }
}

/// Notifications: Windows 10 and later show them as toasts, in the notification centre too; before, as balloons.
#[derive(Debug, Clone)]
pub struct Desktop {
    shared: Arc<Shared>,
}

impl Desktop {
    /// Where there is no icon, notifications show nowhere.
    pub fn nowhere() -> Self {
        let (view, note, window) = (Mutex::new(View::starting("")), Mutex::new(None), Mutex::new(None));
        Self { shared: Arc::new(Shared { view, note, window }) }
    }

    /// Shows a text, in place of the one shown before; the same one again is not shown twice.
    #[expect(clippy::unused_async, reason = "the same on every system")]
    pub async fn show(&mut self, summary: &str, text: &str) {
        let new = Some((summary.to_owned(), text.to_owned()));
        let mut note = lock(&self.shared.note);
        if *note != new {
            *note = new;
            drop(note);
            self.shared.post(NOTE);
        }
    }

    /// Takes it back.
    #[expect(clippy::unused_async, reason = "the same on every system")]
    pub async fn withdraw(&mut self) {
        if lock(&self.shared.note).take().is_some() {
            self.shared.post(NOTE);
        }
    }
}

/// Shows the status window of the connector that runs in this session. Gives whether one runs.
pub fn open_status_window() -> bool {
    // SAFETY: the name ends with a zero.
    unsafe {
        let window = FindWindowW(wide(CLASS).as_ptr(), std::ptr::null());
        !window.is_null() && PostMessageW(window, OPEN, 0, 0) != 0
    }
}

/// Shows a folder to the user.
pub fn open_folder(folder: &std::path::Path) {
    // SAFETY: the texts end with a zero and outlive the call.
    unsafe {
        let nothing = std::ptr::null();
        ShellExecuteW(null_mut(), wide("open").as_ptr(), wide(folder).as_ptr(), nothing, nothing, SW_SHOWNORMAL);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole even if a holder of the lock panicked: each change is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All that the thread has.
struct Ui {
    shared: Arc<Shared>,
    wishes: mpsc::UnboundedSender<Wish>,
    owner: HWND,
    /// What the shell tells every window when the task bar has been made anew.
    taskbar_created: u32,
    icon: RefCell<NotifyIcon>,
    status: RefCell<Option<StatusWindow>>,
}

thread_local! {
    static UI: RefCell<Option<Rc<Ui>>> = const { RefCell::new(None) };
}

fn serve(shared: &Arc<Shared>, wishes: mpsc::UnboundedSender<Wish>) -> io::Result<()> {
    // SAFETY: the call has no memory to look at. Where it is refused, or has been made before, everything is only less sharp.
    unsafe { SetProcessDpiAwarenessContext(DPI_AWARENESS_CONTEXT_PER_MONITOR_AWARE_V2) };
    let owner = hidden_window()?;
    // SAFETY: the name ends with a zero.
    let taskbar_created = unsafe { RegisterWindowMessageW(wide("TaskbarCreated").as_ptr()) };
    let ui = Rc::new(Ui {
        shared: shared.clone(),
        wishes,
        owner,
        taskbar_created,
        icon: RefCell::new(NotifyIcon::new(owner, FROM_ICON)),
        status: RefCell::new(None),
    });
    UI.set(Some(ui.clone()));
    *lock(&shared.window) = Some(Window(owner));
    ui.refresh();
    ui.note();
    let mut message = MSG::default();
    // SAFETY: the message outlives the calls, and the thread's windows are its own.
    unsafe {
        while GetMessageW(&raw mut message, null_mut(), 0, 0) > 0 {
            let dialog = ui.status.borrow().as_ref().map(|window| window.handle());
            if dialog.is_none_or(|dialog| IsDialogMessageW(dialog, &raw const message) == 0) {
                TranslateMessage(&raw const message);
                DispatchMessageW(&raw const message);
            }
        }
    }
    UI.set(None);
    Ok(())
}

fn hidden_window() -> io::Result<HWND> {
    let name = wide(CLASS);
    // SAFETY: the class's name ends with a zero and outlives both calls; the procedure stays, it is a function.
    unsafe {
        let instance = GetModuleHandleW(std::ptr::null());
        let class = WNDCLASSEXW {
            cbSize: u32::try_from(size_of::<WNDCLASSEXW>()).unwrap_or_default(),
            lpfnWndProc: Some(procedure),
            hInstance: instance,
            lpszClassName: name.as_ptr(),
            ..Default::default()
        };
        if RegisterClassExW(&raw const class) == 0 {
            return Err(io::Error::last_os_error());
        }
        // Not a message-only window: those are told neither of a new task bar nor of the session's end.
        let (class, title) = (name.as_ptr(), wide("Lockstep Connector"));
        let nobody = null_mut();
        let window = CreateWindowExW(
            0,
            class,
            title.as_ptr(),
            WS_OVERLAPPED,
            0,
            0,
            0,
            0,
            nobody,
            null_mut(),
            instance,
            std::ptr::null(),
        );
        if !window.is_null() {
            return Ok(window);
        }
        let error = io::Error::last_os_error();
        Err(if error.raw_os_error() == Some(0) { io::Error::other("this session has no desktop") } else { error })
    }
}

unsafe extern "system" fn procedure(window: HWND, message: u32, w: WPARAM, l: LPARAM) -> LRESULT {
    let ui = UI.with_borrow(Clone::clone);
    if let Some(ui) = ui
        && ui.owner == window
        && let Some(answer) = ui.take(message, w, l)
    {
        return answer;
    }
    // SAFETY: the arguments are the system's own.
    unsafe { DefWindowProcW(window, message, w, l) }
}

impl Ui {
    /// `None`: the system does as usual.
    fn take(&self, message: u32, w: WPARAM, l: LPARAM) -> Option<LRESULT> {
        match message {
            // NOTIFYICON_VERSION_4: the event is in the lower half.
            FROM_ICON => match u32::try_from(l & 0xffff).unwrap_or_default() {
                WM_CONTEXTMENU => self.menu(),
                NIN_SELECT | NIN_KEYSELECT | NIN_BALLOONUSERCLICK => self.open_status(),
                _ => {}
            },
            VIEW => {
                if w == NEW_TASKBAR {
                    self.icon.borrow_mut().is_gone();
                }
                self.refresh();
            }
            NOTE => self.note(),
            OPEN => self.open_status(),
            WM_TIMER if w == AGAIN_TIMER => {
                // SAFETY: the window is this thread's own.
                unsafe { KillTimer(self.owner, AGAIN_TIMER) };
                self.refresh();
                self.note();
            }
            WM_ENDSESSION if w != 0 => {
                self.wish(Wish::Quit);
                // The process ends as soon as its files are closed; when this returns, it may be ended at any time.
                std::thread::sleep(FAREWELL);
            }
            WM_CLOSE => {
                // Asked by the program itself, which listens no more, or from outside, as the task manager does.
                if self.wishes.is_closed() {
                    // SAFETY: the window is this thread's own.
                    unsafe { DestroyWindow(self.owner) };
                } else {
                    self.wish(Wish::Quit);
                }
            }
            WM_DESTROY => {
                self.icon.borrow_mut().remove();
                // SAFETY: the call has no memory to look at.
                unsafe { PostQuitMessage(0) };
            }
            message if message == self.taskbar_created && message != 0 => {
                // Sent, and so perhaps in the middle of a word with the shell: later.
                // SAFETY: the call has no memory to look at.
                unsafe { PostMessageW(self.owner, VIEW, NEW_TASKBAR, 0) };
            }
            _ => return None,
        }
        Some(0)
    }

    fn refresh(&self) {
        let view = lock(&self.shared.view).clone();
        if !self.icon.borrow_mut().show(&view) {
            // SAFETY: the window is this thread's own.
            unsafe { SetTimer(self.owner, AGAIN_TIMER, AGAIN, None) };
        }
        if let Some(window) = self.status.borrow_mut().as_mut() {
            window.show(&view);
        }
    }

    fn note(&self) {
        let note = lock(&self.shared.note).clone();
        self.icon.borrow_mut().note(note.as_ref().map(|(heading, text)| (heading.as_str(), text.as_str())));
    }

    fn wish(&self, wish: Wish) {
        if self.wishes.send(wish).is_err() {
            tracing::debug!("nobody takes wishes any more");
        }
    }

    fn open_status(&self) {
        if self.status.borrow().as_ref().is_none_or(StatusWindow::is_closed) {
            let view = lock(&self.shared.view).clone();
            match StatusWindow::open(&view, self.wishes.clone()) {
                Ok(window) => *self.status.borrow_mut() = Some(window),
                Err(error) => return tracing::warn!(%error, "no status window"),
            }
        }
        if let Some(window) = self.status.borrow().as_ref() {
            // SAFETY: the window is this thread's own.
            unsafe { SetForegroundWindow(window.handle()) };
        }
    }

    fn menu(&self) {
        // SAFETY: the texts end with a zero and are copied; the menu is destroyed once; the window is this thread's own. While the
        // menu is up, other messages are taken, so nothing is borrowed here.
        let chosen = unsafe {
            let menu = CreatePopupMenu();
            for entry in MENU {
                match entry {
                    Some((id, text)) => AppendMenuW(menu, MF_STRING, id, wide(text).as_ptr()),
                    None => AppendMenuW(menu, MF_SEPARATOR, 0, std::ptr::null()),
                };
            }
            SetMenuDefaultItem(menu, STATUS as u32, 0);
            let mut at = POINT::default();
            GetCursorPos(&raw mut at);
            // Else the menu would not go away when the user clicks elsewhere.
            SetForegroundWindow(self.owner);
            let flags = TPM_RETURNCMD | TPM_NONOTIFY | TPM_RIGHTBUTTON;
            let chosen = TrackPopupMenu(menu, flags, at.x, at.y, 0, self.owner, std::ptr::null());
            PostMessageW(self.owner, WM_NULL, 0, 0);
            DestroyMenu(menu);
            usize::try_from(chosen).unwrap_or_default()
        };
        match chosen {
            STATUS => self.open_status(),
            SYNCHRONISE => self.wish(Wish::Synchronise),
            UPGRADE => self.wish(Wish::Upgrade),
            DIAGNOSTICS => self.wish(Wish::Diagnostics),
            REMOVE => self.wish(Wish::Remove),
            QUIT => self.wish(Wish::Quit),
            _ => {}
        }
    }
}
