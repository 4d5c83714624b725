//! Values of the registry.

use std::{io, ptr::null_mut};

use windows_sys::Win32::{
    Foundation::ERROR_FILE_NOT_FOUND,
    System::Registry::{
        HKEY, HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WOW64_32KEY, KEY_WOW64_64KEY, REG_SZ, RRF_RT_REG_SZ,
        RegCloseKey, RegDeleteKeyValueW, RegEnumKeyExW, RegGetValueW, RegOpenKeyExW, RegSetKeyValueW,
    },
};

use super::wide;

/// Whose part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hive {
    /// `HKEY_LOCAL_MACHINE`
    Machine,
    /// `HKEY_CURRENT_USER`
    User,
}

/// As programs of which size see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// `KEY_WOW64_64KEY`
    Bits64,
    /// `KEY_WOW64_32KEY`
    Bits32,
}

impl Hive {
    fn key(self) -> HKEY {
        match self {
            Self::Machine => HKEY_LOCAL_MACHINE,
            Self::User => HKEY_CURRENT_USER,
        }
    }
}

impl View {
    /// What is asked for when a key is opened.
    pub const fn access(self) -> u32 {
        KEY_READ
            | match self {
                Self::Bits64 => KEY_WOW64_64KEY,
                Self::Bits32 => KEY_WOW64_32KEY,
            }
    }
}

// KEY_READ, and KEY_WOW64_64KEY or KEY_WOW64_32KEY, as Windows documents them.
const _: () = assert!(View::Bits64.access() == 0x2_0119 && View::Bits32.access() == 0x2_0219);

/// A key that is open.
struct Open(HKEY);

impl Open {
    fn new(hive: Hive, key: &str, view: View) -> Option<Self> {
        let mut open = null_mut();
        // SAFETY: the name ends with a zero, and `open` outlives the call.
        let failed = unsafe { RegOpenKeyExW(hive.key(), wide(key).as_ptr(), 0, view.access(), &raw mut open) };
        (failed == 0).then_some(Self(open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, and closed once.
        unsafe { RegCloseKey(self.0) };
    }
}

/// The names of the keys below a key; none if it is not there.
pub fn subkeys(hive: Hive, key: &str, view: View) -> Vec<String> {
    let Some(open) = Open::new(hive, key, view) else { return vec![] };
    let mut names = vec![];
    // A name has 255 characters at most.
    let mut buffer = [0u16; 256];
    for index in 0.. {
        let mut size = u32::try_from(buffer.len()).unwrap_or_default();
        // SAFETY: the key is open, the buffer is as big as is said, and what is not wanted is null.
        let failed = unsafe {
            RegEnumKeyExW(
                open.0,
                index,
                buffer.as_mut_ptr(),
                &raw mut size,
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
            )
        };
        if failed != 0 {
            break;
        }
        names.extend(buffer.get(..size as usize).map(String::from_utf16_lossy));
    }
    names
}

/// A text. `None`: it is not there, or no text, or longer than any that is read here.
pub fn text(hive: Hive, key: &str, name: &str, view: View) -> Option<String> {
    let open = Open::new(hive, key, view)?;
    let mut buffer = [0u16; 4096];
    let mut bytes = u32::try_from(size_of_val(&buffer)).unwrap_or_default();
    // SAFETY: the key is open, the name ends with a zero, and the buffer is as big as is said.
    let failed = unsafe {
        let (name, kind) = (wide(name), null_mut());
        RegGetValueW(
            open.0,
            std::ptr::null(),
            name.as_ptr(),
            RRF_RT_REG_SZ,
            kind,
            buffer.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    // The size counts the zero at the end, which the system adds if it is missing.
    let length = (bytes as usize / 2).checked_sub(1)?;
    (failed == 0).then(|| buffer.get(..length).map(String::from_utf16_lossy)).flatten()
}

/// Sets a text of the user's own part, and makes the key if need be.
///
/// # Errors
/// From the registry.
pub fn set_users_text(key: &str, name: &str, value: &str) -> io::Result<()> {
    let value = wide(value);
    let bytes = u32::try_from(size_of_val(value.as_slice())).unwrap_or_default();
    // SAFETY: both names end with a zero, and the value is as big as is said.
    let failed = unsafe {
        let data = value.as_ptr().cast();
        RegSetKeyValueW(HKEY_CURRENT_USER, wide(key).as_ptr(), wide(name).as_ptr(), REG_SZ, data, bytes)
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(failed.cast_signed())) }
}

/// Removes a value of the user's own part. That there is none is as good.
///
/// # Errors
/// From the registry.
pub fn remove_users_value(key: &str, name: &str) -> io::Result<()> {
    // SAFETY: both names end with a zero.
    match unsafe { RegDeleteKeyValueW(HKEY_CURRENT_USER, wide(key).as_ptr(), wide(name).as_ptr()) } {
        0 | ERROR_FILE_NOT_FOUND => Ok(()),
        failed => Err(io::Error::from_raw_os_error(failed.cast_signed())),
    }
}
