//! Boxes with words in them, in front of whoever sits there.

#![expect(unsafe_code, reason = "the call takes pointers")]

use std::ptr::null_mut;

use windows_sys::Win32::UI::WindowsAndMessaging::{
    IDNO, IDYES, MB_DEFBUTTON1, MB_DEFBUTTON2, MB_ICONINFORMATION, MB_ICONQUESTION, MB_SETFOREGROUND, MB_TOPMOST,
    MB_YESNOCANCEL, MessageBoxW,
};

use crate::wide;

/// Asks, in a window, a question that is answered with yes or no. `None`: there is nobody to ask, or it was closed.
pub fn ask_yes_or_no(title: &str, question: &str, usual: bool) -> Option<bool> {
    let (title, text) = (wide(title), wide(question));
    let button = if usual { MB_DEFBUTTON1 } else { MB_DEFBUTTON2 };
    let style = MB_YESNOCANCEL | MB_ICONQUESTION | button | MB_SETFOREGROUND | MB_TOPMOST;
    // SAFETY: both texts end with a zero and outlive the call.
    match unsafe { MessageBoxW(null_mut(), text.as_ptr(), title.as_ptr(), style) } {
        IDYES => Some(true),
        IDNO => Some(false),
        _ => None,
    }
}

/// Tells something in a window, until it is closed.
pub fn tell(title: &str, text: &str) {
    let (title, text) = (wide(title), wide(text));
    let style = MB_ICONINFORMATION | MB_SETFOREGROUND | MB_TOPMOST;
    // SAFETY: both texts end with a zero and outlive the call.
    unsafe { MessageBoxW(null_mut(), text.as_ptr(), title.as_ptr(), style) };
}
