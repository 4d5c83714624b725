//! Packages: what goes in comes out, and what is hostile does not.

mod attacks;
mod bench;
mod huge;
mod packing;
