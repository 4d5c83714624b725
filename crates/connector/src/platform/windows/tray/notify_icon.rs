//! The icon itself, and what pops up beside it (`Shell_NotifyIcon`).

use windows_sys::Win32::{
    Foundation::HWND,
    UI::{
        HiDpi::{GetDpiForSystem, GetSystemMetricsForDpi},
        Shell::{
            NIF_ICON, NIF_INFO, NIF_MESSAGE, NIF_SHOWTIP, NIF_TIP, NIIF_INFO, NIIF_RESPECT_QUIET_TIME, NIM_ADD,
            NIM_DELETE, NIM_MODIFY, NIM_SETVERSION, NOTIFY_ICON_DATA_FLAGS, NOTIFY_ICON_INFOTIP_FLAGS,
            NOTIFYICON_VERSION_4, NOTIFYICONDATAW, NOTIFYICONDATAW_0, Shell_NotifyIconW,
        },
        WindowsAndMessaging::SM_CXSMICON,
    },
};

use crate::{
    platform::windows::icon::Icon,
    tray::{State, View, shortened},
};

/// What is kept of the icon: picture, text and where its events go; the text shows as with the shell's own icons.
pub const PARTS: NOTIFY_ICON_DATA_FLAGS = NIF_MESSAGE | NIF_ICON | NIF_TIP | NIF_SHOWTIP;

/// A notification: with the sign for information; not in the quiet hours.
pub const NOTE: NOTIFY_ICON_INFOTIP_FLAGS = NIIF_INFO | NIIF_RESPECT_QUIET_TIME;

// As Windows documents them: NIF_MESSAGE 1, NIF_ICON 2, NIF_TIP 4, NIF_SHOWTIP 0x80; NIIF_INFO 1, NIIF_RESPECT_QUIET_TIME 0x80.
const _: () = assert!(PARTS == 0x87 && NOTE == 0x81 && NOTIFYICON_VERSION_4 == 4);

/// Units of UTF-16 of a notification's heading and text, without the zero at the end.
const HEADING: usize = 63;
const TEXT: usize = 255;

pub(super) struct NotifyIcon {
    owner: HWND,
    callback: u32,
    picture: Option<(State, Icon)>,
    added: bool,
}

impl NotifyIcon {
    pub(super) fn new(owner: HWND, callback: u32) -> Self {
        Self { owner, callback, picture: None, added: false }
    }

    /// Shows the view; gives whether there is an icon now.
    pub(super) fn show(&mut self, view: &View) -> bool {
        if self.picture.as_ref().is_none_or(|(state, _)| *state != view.state) {
            // SAFETY: the calls have no memory to look at.
            let size = unsafe { GetSystemMetricsForDpi(SM_CXSMICON, GetDpiForSystem()) };
            self.picture = Some((view.state, Icon::draw(view.state, size.clamp(16, 64))));
        }
        let mut data = self.data(PARTS);
        data.uCallbackMessage = self.callback;
        data.hIcon = self.picture.as_ref().map_or(std::ptr::null_mut(), |(_, icon)| icon.0);
        fill(&mut data.szTip, &view.tip);
        if self.added && tell(NIM_MODIFY, &data) {
            return true;
        }
        self.added = tell(NIM_ADD, &data);
        if self.added {
            data.Anonymous = NOTIFYICONDATAW_0 { uVersion: NOTIFYICON_VERSION_4 };
            tell(NIM_SETVERSION, &data);
        }
        self.added
    }

    /// Shows a heading and a text beside the icon, or takes them back.
    pub(super) fn note(&mut self, note: Option<(&str, &str)>) {
        if !self.added {
            return;
        }
        let mut data = self.data(NIF_INFO);
        data.dwInfoFlags = NOTE;
        if let Some((heading, text)) = note {
            fill(&mut data.szInfoTitle, &shortened(heading, HEADING));
            fill(&mut data.szInfo, &shortened(text, TEXT));
        }
        if !tell(NIM_MODIFY, &data) {
            tracing::info!("no notification beside the clock");
        }
    }

    /// The task bar was made anew, and knows nothing of it.
    pub(super) fn is_gone(&mut self) {
        self.added = false;
    }

    pub(super) fn remove(&mut self) {
        if std::mem::take(&mut self.added) {
            tell(NIM_DELETE, &self.data(0));
        }
    }

    fn data(&self, parts: NOTIFY_ICON_DATA_FLAGS) -> NOTIFYICONDATAW {
        NOTIFYICONDATAW {
            cbSize: u32::try_from(size_of::<NOTIFYICONDATAW>()).unwrap_or_default(),
            hWnd: self.owner,
            uID: 1,
            uFlags: parts,
            ..Default::default()
        }
    }
}

fn tell(what: u32, data: &NOTIFYICONDATAW) -> bool {
    // SAFETY: the data says its own size, its texts end with a zero, and it outlives the call.
    unsafe { Shell_NotifyIconW(what, data) != 0 }
}

/// Puts a text, cut if need be, and a zero behind it.
fn fill(buffer: &mut [u16], text: &str) {
    let units = text.encode_utf16().take(buffer.len() - 1);
    for (place, unit) in buffer.iter_mut().zip(units.chain([0])) {
        *place = unit;
    }
}
