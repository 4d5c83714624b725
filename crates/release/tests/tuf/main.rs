//! The trusted reader against a vendor, and against those who are not.

mod carried_root;
mod delegating;
mod reading;
mod refusing;
mod vendor;
