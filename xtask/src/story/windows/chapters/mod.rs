//! The chapters, in the order of events.

mod before;
mod broken;
mod moved;
mod refused;
