//! The vendor's half, from outside: the real program, and readers that do not know each other.

mod attacks;
mod bench;
mod keys;
mod publishing;
mod python;
