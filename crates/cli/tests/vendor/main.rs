//! The vendor's half, from outside: the real program, and readers that do not know each other.

mod attacks;
mod bench;
mod bins;
mod ceremony;
mod check;
mod delegations;
mod keys;
mod lost_and_leaked;
mod pkcs11;
mod publishing;
mod python;
mod reproducible;
mod rotation;
