//! The status window: what [`View`] says, as plain text controls, which screen readers read, and four buttons.

use std::{cell::RefCell, io, ptr::null_mut, rc::Rc};

use tokio::sync::mpsc;
use windows_sys::Win32::{
    Foundation::{HWND, LPARAM, LRESULT, RECT, WPARAM},
    Graphics::Gdi::{COLOR_3DFACE, CreateFontIndirectW, DeleteObject, FW_BOLD, HFONT, UpdateWindow},
    System::LibraryLoader::GetModuleHandleW,
    UI::{
        HiDpi::{AdjustWindowRectExForDpi, GetDpiForSystem, SystemParametersInfoForDpi},
        WindowsAndMessaging::{
            BS_DEFPUSHBUTTON, CreateWindowExW, DefWindowProcW, DestroyWindow, GetSystemMetrics, GetWindowTextLengthW,
            GetWindowTextW, ICON_BIG, ICON_SMALL, IDC_ARROW, IDCANCEL, IsWindow, LoadCursorW, NONCLIENTMETRICSW,
            RegisterClassExW, SM_CXSCREEN, SM_CYSCREEN, SPI_GETNONCLIENTMETRICS, STM_SETICON, SW_SHOW, SendMessageW,
            SetWindowTextW, ShowWindow, WM_CLOSE, WM_COMMAND, WM_DESTROY, WM_SETFONT, WM_SETICON, WNDCLASSEXW,
            WS_CAPTION, WS_CHILD, WS_EX_CONTROLPARENT, WS_GROUP, WS_MINIMIZEBOX, WS_OVERLAPPED, WS_SYSMENU, WS_TABSTOP,
            WS_VISIBLE,
        },
    },
};

use crate::{
    platform::windows::{icon::Icon, wide},
    tray::{State, View, Wish},
};

const CLASS: &str = "LockstepConnectorStatus";

/// Text controls (Static Control Styles): an icon; text that is cut with an ellipsis; `&` is only itself.
const SS_ICON: u32 = 0x3;
const SS_NOPREFIX: u32 = 0x80;
const SS_ENDELLIPSIS: u32 = 0x4000;

/// Measures at 96 points to the inch.
const WIDTH: i32 = 520;
const EDGE: i32 = 16;
const LABEL: i32 = 110;
const LINE: i32 = 22;
const PICTURE: i32 = 32;
const NOTICE: i32 = 84;
const BUTTON: (i32, i32) = (116, 28);
const GAP: i32 = 8;

/// Rows that there is room for; [`View`] has no more.
const ROWS: usize = 8;

const SYNCHRONISE: usize = 101;
const UPGRADE: usize = 102;
const DIAGNOSTICS: usize = 103;
/// As Escape does.
const CLOSE: usize = IDCANCEL as usize;

const BUTTONS: [(usize, &str); 4] =
    [(SYNCHRONISE, "&Synchronise now"), (UPGRADE, "&Upgrade now"), (DIAGNOSTICS, "&Diagnostics"), (CLOSE, "Close")];

/// The window while it is open.
pub(super) struct StatusWindow {
    window: HWND,
    picture: HWND,
    heading: HWND,
    rows: Vec<(HWND, HWND)>,
    notice: HWND,
    state: Option<State>,
    icons: Vec<Icon>,
    _fonts: [Font; 2],
}

/// A font, deleted with its owner.
struct Font(HFONT);

impl Drop for Font {
    fn drop(&mut self) {
        // SAFETY: made here, deleted once; the controls that use it are gone with the window.
        unsafe { DeleteObject(self.0) };
    }
}

thread_local! {
    static WISHES: RefCell<Option<Rc<mpsc::UnboundedSender<Wish>>>> = const { RefCell::new(None) };
}

impl StatusWindow {
    pub(super) fn open(view: &View, wishes: mpsc::UnboundedSender<Wish>) -> io::Result<Self> {
        WISHES.set(Some(Rc::new(wishes)));
        // SAFETY: the call has no memory to look at.
        let dpi = unsafe { GetDpiForSystem() };
        let scale = |points: i32| points * i32::try_from(dpi).unwrap_or(96) / 96;
        let rows = i32::try_from(ROWS).unwrap_or_default();
        let height = EDGE + PICTURE + GAP + rows * LINE + GAP + NOTICE + GAP + BUTTON.1 + EDGE;
        let window = frame(scale(WIDTH), scale(height), dpi)?;
        let fonts = [font(dpi, false), font(dpi, true)];
        let control = |class: &str, text: &str, style: u32, id: usize, [x, y, w, h]: [i32; 4], bold: bool| {
            // SAFETY: the texts end with a zero; the parent is this thread's own; `id` stands where a child has its number.
            unsafe {
                let child = CreateWindowExW(
                    0,
                    wide(class).as_ptr(),
                    wide(text).as_ptr(),
                    WS_CHILD | WS_VISIBLE | style,
                    scale(x),
                    scale(y),
                    scale(w),
                    scale(h),
                    window,
                    std::ptr::without_provenance_mut(id),
                    GetModuleHandleW(std::ptr::null()),
                    std::ptr::null(),
                );
                SendMessageW(child, WM_SETFONT, fonts[usize::from(bold)].0.addr(), 0);
                child
            }
        };
        let text = |what: [i32; 4], style: u32, bold: bool| control("STATIC", "", style, 0, what, bold);
        let picture = control("STATIC", "", SS_ICON, 0, [EDGE, EDGE, PICTURE, PICTURE], false);
        let beside = EDGE + PICTURE + GAP + 4;
        let heading = text([beside, EDGE + 6, WIDTH - beside - EDGE, LINE], SS_NOPREFIX | SS_ENDELLIPSIS, true);
        let mut y = EDGE + PICTURE + GAP;
        let mut made = vec![];
        for _ in 0..ROWS {
            let value = [EDGE + LABEL, y, WIDTH - 2 * EDGE - LABEL, LINE];
            let style = SS_NOPREFIX | SS_ENDELLIPSIS;
            made.push((text([EDGE, y, LABEL, LINE], style, false), text(value, style, false)));
            y += LINE;
        }
        y += GAP;
        let notice = text([EDGE, y, WIDTH - 2 * EDGE, NOTICE], SS_NOPREFIX, false);
        y += NOTICE + GAP;
        for (at, (id, name)) in (0..).zip(BUTTONS) {
            let style = WS_TABSTOP | if at == 0 { WS_GROUP } else { 0 };
            let style = style | if id == CLOSE { BS_DEFPUSHBUTTON as u32 } else { 0 };
            control("BUTTON", name, style, id, [EDGE + at * (BUTTON.0 + GAP), y, BUTTON.0, BUTTON.1], false);
        }
        let mut open = Self { window, picture, heading, rows: made, notice, state: None, icons: vec![], _fonts: fonts };
        open.show(view);
        // SAFETY: the window is this thread's own.
        unsafe {
            ShowWindow(window, SW_SHOW);
            UpdateWindow(window);
        }
        Ok(open)
    }

    pub(super) fn handle(&self) -> HWND {
        self.window
    }

    pub(super) fn is_closed(&self) -> bool {
        // SAFETY: the call has no memory to look at.
        unsafe { IsWindow(self.window) == 0 }
    }

    pub(super) fn show(&mut self, view: &View) {
        if self.is_closed() {
            return;
        }
        if self.state != Some(view.state) {
            self.state = Some(view.state);
            let icons = vec![Icon::draw(view.state, 16), Icon::draw(view.state, 32)];
            // SAFETY: the windows are this thread's own; the icons stay until the next ones are set.
            unsafe {
                SendMessageW(self.window, WM_SETICON, ICON_SMALL as usize, icons[0].0.addr().cast_signed());
                SendMessageW(self.window, WM_SETICON, ICON_BIG as usize, icons[1].0.addr().cast_signed());
                SendMessageW(self.picture, STM_SETICON, icons[1].0.addr(), 0);
            }
            self.icons = icons;
        }
        let heading = match view.state {
            State::Online => "Mail is synchronised",
            State::Offline => "Offline: mail that is here can be read, the rest waits",
            State::Upgrading => "Being upgraded",
        };
        set_text(self.heading, heading);
        let nothing = ("", String::new());
        let rows = view.rows.iter().chain(std::iter::repeat(&nothing));
        for ((label, value), (name, text)) in self.rows.iter().zip(rows) {
            set_text(*label, name);
            set_text(*value, text);
        }
        set_text(self.notice, &view.notice);
    }
}

/// Sets a text, unless it is there already: setting it makes the control flicker.
fn set_text(control: HWND, text: &str) {
    let new = wide(text);
    // SAFETY: the buffer is as big as is said, the text ends with a zero, and the control is this thread's own.
    unsafe {
        let mut old = vec![0u16; usize::try_from(GetWindowTextLengthW(control)).unwrap_or_default() + 1];
        GetWindowTextW(control, old.as_mut_ptr(), i32::try_from(old.len()).unwrap_or_default());
        if old != new {
            SetWindowTextW(control, new.as_ptr());
        }
    }
}

/// The window without what is in it, in the middle of the screen; `width` and `height` are those of its inside.
fn frame(width: i32, height: i32, dpi: u32) -> io::Result<HWND> {
    let name = wide(CLASS);
    let style = WS_OVERLAPPED | WS_CAPTION | WS_SYSMENU | WS_MINIMIZEBOX;
    let mut outside = RECT { left: 0, top: 0, right: width, bottom: height };
    // SAFETY: the names end with a zero and outlive the calls; the procedure stays, it is a function. A class that is there
    // already is refused, and is the same one.
    unsafe {
        let instance = GetModuleHandleW(std::ptr::null());
        let class = WNDCLASSEXW {
            cbSize: u32::try_from(size_of::<WNDCLASSEXW>()).unwrap_or_default(),
            lpfnWndProc: Some(procedure),
            hInstance: instance,
            hCursor: LoadCursorW(null_mut(), IDC_ARROW),
            // The system's own colours are given as their number and one.
            hbrBackground: std::ptr::without_provenance_mut(COLOR_3DFACE as usize + 1),
            lpszClassName: name.as_ptr(),
            ..Default::default()
        };
        RegisterClassExW(&raw const class);
        AdjustWindowRectExForDpi(&raw mut outside, style, 0, WS_EX_CONTROLPARENT, dpi);
        let (width, height) = (outside.right - outside.left, outside.bottom - outside.top);
        let window = CreateWindowExW(
            WS_EX_CONTROLPARENT,
            name.as_ptr(),
            wide("Lockstep Connector").as_ptr(),
            style,
            (GetSystemMetrics(SM_CXSCREEN) - width) / 2,
            (GetSystemMetrics(SM_CYSCREEN) - height) / 2,
            width,
            height,
            null_mut(),
            null_mut(),
            instance,
            std::ptr::null(),
        );
        if window.is_null() { Err(io::Error::last_os_error()) } else { Ok(window) }
    }
}

/// The font that the user's desktop has for messages.
fn font(dpi: u32, bold: bool) -> Font {
    let size = u32::try_from(size_of::<NONCLIENTMETRICSW>()).unwrap_or_default();
    let mut metrics = NONCLIENTMETRICSW { cbSize: size, ..Default::default() };
    // SAFETY: the structure says its own size and outlives the call; where the system gives none, it makes its usual font of
    // zeros.
    unsafe {
        SystemParametersInfoForDpi(SPI_GETNONCLIENTMETRICS, size, (&raw mut metrics).cast(), 0, dpi);
        let mut font = metrics.lfMessageFont;
        if bold {
            font.lfWeight = FW_BOLD.cast_signed();
        }
        Font(CreateFontIndirectW(&raw const font))
    }
}

unsafe extern "system" fn procedure(window: HWND, message: u32, w: WPARAM, l: LPARAM) -> LRESULT {
    let wish = |wish| {
        if let Some(wishes) = WISHES.with_borrow(Clone::clone)
            && wishes.send(wish).is_err()
        {
            tracing::debug!("nobody takes wishes any more");
        }
    };
    match (message, w & 0xffff) {
        (WM_COMMAND, SYNCHRONISE) => wish(Wish::Synchronise),
        (WM_COMMAND, UPGRADE) => wish(Wish::Upgrade),
        (WM_COMMAND, DIAGNOSTICS) => wish(Wish::Diagnostics),
        // SAFETY: the window is this thread's own.
        (WM_COMMAND, CLOSE) | (WM_CLOSE, _) => unsafe {
            DestroyWindow(window);
        },
        (WM_DESTROY, _) => WISHES.set(None),
        // SAFETY: the arguments are the system's own.
        _ => return unsafe { DefWindowProcW(window, message, w, l) },
    }
    0
}
