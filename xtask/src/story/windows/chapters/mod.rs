//! The chapters, in the order of events.

mod away;
mod before;
mod broken;
mod moved;
mod refused;
