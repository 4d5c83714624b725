//! The story's chapters, in the order of events.

mod accepted;
mod at_work;
mod away;
mod back;
mod foretold;
mod later;
mod moved;
mod others;
mod refused;
mod remedy;
mod taken_over;
