//! Group Policy, as Windows puts it into the registry, where only administrators write.

#![expect(unsafe_code, reason = "Windows' calls for the registry take pointers")]

use std::io;

use windows_sys::Win32::{
    Foundation::ERROR_SUCCESS,
    System::Registry::{
        HKEY_LOCAL_MACHINE, REG_DWORD, REG_MULTI_SZ, REG_SZ, RRF_RT_REG_DWORD, RRF_RT_REG_MULTI_SZ, RRF_RT_REG_SZ,
        RRF_SUBKEY_WOW6464KEY, RegGetValueW,
    },
};

use super::wide;
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
