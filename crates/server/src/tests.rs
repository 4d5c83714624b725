//! The server as its clients meet it: a real listener with TLS, a real signed repository, a real database.

mod check_ins;
mod cut_off;
mod denied;
mod hostile;
mod installers;
mod mirror;
mod pages;
mod policies;
mod preflight;
mod push;
mod site;
mod switches;
mod warning;
