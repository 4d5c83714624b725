//! Access lists, made from their texts.

#![expect(unsafe_code, reason = "Windows' calls for access lists take pointers")]

use std::{io, ptr::null_mut};

use windows_sys::Win32::{
    Foundation::LocalFree,
    Security::{
        ACL, Authorization::ConvertStringSecurityDescriptorToSecurityDescriptorW, Authorization::SDDL_REVISION_1,
        GetSecurityDescriptorDacl, PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES,
    },
};

use crate::{succeeded, wide};

/// An access list as Windows takes it.
#[derive(Debug)]
pub struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    /// From its text, in the Security Descriptor Definition Language.
    ///
    /// # Errors
    /// When that is none.
    pub fn new(sddl: &str) -> io::Result<Self> {
        let (text, mut descriptor) = (wide(sddl), null_mut());
        // SAFETY: the text ends with a zero and lives through the call; the result is freed by Drop.
        succeeded(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                null_mut(),
            )
        })?;
        Ok(Self(descriptor))
    }

    /// One that Windows has given, to be freed with this.
    ///
    /// # Safety
    /// It must be to be freed by `LocalFree`, and nobody else may do that.
    pub unsafe fn from_raw(descriptor: PSECURITY_DESCRIPTOR) -> Self {
        Self(descriptor)
    }

    /// To make something with. It points into this descriptor, which must outlive it.
    pub fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }

    /// The list itself, which is a part of this descriptor.
    ///
    /// # Errors
    /// When there is none in it.
    pub fn dacl(&self) -> io::Result<*mut ACL> {
        let (mut present, mut defaulted, mut dacl) = (0, 0, null_mut());
        // SAFETY: the descriptor is valid while self lives; three places to write to.
        succeeded(unsafe { GetSecurityDescriptorDacl(self.0, &raw mut present, &raw mut dacl, &raw mut defaulted) })?;
        if present == 0 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(dacl) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it came from a call that says it is to be freed so, and nothing points into it any more.
        unsafe { LocalFree(self.0) };
    }
}
