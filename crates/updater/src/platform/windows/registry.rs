//! The machine's part of the registry, where only administrators write: Group Policy, as Windows puts it there, and what Windows is
//! told about us.

#![expect(unsafe_code, reason = "Windows' calls for the registry take pointers")]

use std::io;

use windows_sys::Win32::{
    Foundation::ERROR_SUCCESS,
    System::Registry::{
        HKEY_LOCAL_MACHINE, KEY_QUERY_VALUE, REG_DWORD, REG_EXPAND_SZ, REG_MULTI_SZ, REG_SZ, RRF_RT_REG_DWORD,
        RRF_RT_REG_MULTI_SZ, RRF_RT_REG_SZ, RRF_SUBKEY_WOW6464KEY, RegCloseKey, RegDeleteTreeW, RegGetValueW,
        RegOpenKeyExW, RegSetKeyValueW,
    },
};

use super::{no_error, wide};
use crate::settings::group_policy::{KEY, Value};

/// Bytes; a longer value is not read.
const MOST: usize = 64 * 1024;

/// A value of the policy. `None`: it is not set. The kind of value is what it is; whether it fits, the caller sees.
///
/// # Errors
/// Whatever the registry says.
pub fn group_policy(name: &str) -> io::Result<Option<Value>> {
    let (key, name) = (wide(KEY), wide(name));
    let (mut kind, mut bytes, mut length) = (0, vec![0_u16; MOST / 2], MOST as u32);
    // SAFETY: two texts that end with a zero; so much room as the length says, which is changed to what was written.
    let result = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_SZ | RRF_RT_REG_MULTI_SZ | RRF_RT_REG_DWORD | RRF_SUBKEY_WOW6464KEY,
            &raw mut kind,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != ERROR_SUCCESS {
        let error = io::Error::from_raw_os_error(result.cast_signed());
        return if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) };
    }
    bytes.truncate(length as usize / 2);
    let texts = || bytes.split(|unit| *unit == 0).filter(|t| !t.is_empty()).map(String::from_utf16_lossy);
    Ok(match kind {
        REG_SZ => Some(Value::Text(texts().next().unwrap_or_default())),
        REG_MULTI_SZ => Some(Value::Texts(texts().collect())),
        REG_DWORD => {
            let unit = |at: usize| u32::from(bytes.get(at).copied().unwrap_or_default());
            Some(Value::Number(unit(0) | (unit(1) << 16)))
        }
        _ => None,
    })
}

/// A value that is written.
#[derive(Debug, Clone, Copy)]
pub enum Written<'a> {
    /// Text.
    Text(&'a str),
    /// Text that may name the system's folders (`%SystemRoot%`).
    Expanded(&'a str),
    /// A number.
    Number(u32),
}

/// Writes a value, and makes its key where there is none.
///
/// # Errors
/// Whatever the registry says.
pub fn write(key: &str, name: &str, value: Written<'_>) -> io::Result<()> {
    let (kind, bytes) = match value {
        Written::Text(text) => (REG_SZ, bytes(text)),
        Written::Expanded(text) => (REG_EXPAND_SZ, bytes(text)),
        Written::Number(number) => (REG_DWORD, number.to_le_bytes().to_vec()),
    };
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let (key, name) = (wide(key), wide(name));
    // SAFETY: two texts that end with a zero, and a value of this length that lives through the call.
    no_error(unsafe {
        RegSetKeyValueW(HKEY_LOCAL_MACHINE, key.as_ptr(), name.as_ptr(), kind, bytes.as_ptr().cast(), length)
    })
}

/// Whether there is a key.
pub fn exists(key: &str) -> bool {
    let mut opened = std::ptr::null_mut();
    // SAFETY: a text that ends with a zero, and a place for the key, which is closed once.
    unsafe {
        let found = RegOpenKeyExW(HKEY_LOCAL_MACHINE, wide(key).as_ptr(), 0, KEY_QUERY_VALUE, &raw mut opened);
        found == ERROR_SUCCESS && RegCloseKey(opened) == ERROR_SUCCESS
    }
}

/// Removes a key with everything in it; no error if there is none.
///
/// # Errors
/// Whatever the registry says.
pub fn remove(key: &str) -> io::Result<()> {
    // SAFETY: a text that ends with a zero.
    match no_error(unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, wide(key).as_ptr()) }) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn bytes(text: &str) -> Vec<u8> {
    wide(text).into_iter().flat_map(u16::to_le_bytes).collect()
}
