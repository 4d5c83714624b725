//! Reading messages the way IMAP shows them: byte for byte.
//!
//! A section that a client fetches must be exactly the bytes of the message, so this works on ranges and never decodes. (For SEARCH,
//! where words matter and bytes do not, `mail-parser` decodes.)
//!
//! | Attack | Defence |
//! |---|---|
//! | multiparts nested a thousand deep | `MAX_DEPTH`: deeper ones are leaves |
//! | a million empty parts | `MAX_PARTS`: the rest stays unparsed inside the last one |
//! | headers of megabytes, quotes and comments that never end | one pass over the bytes, no recursion, no back-tracking |

pub(crate) mod address;
pub(crate) mod fields;
pub(crate) mod parameters;
mod structure;

pub(crate) use structure::{Kind, Part};
