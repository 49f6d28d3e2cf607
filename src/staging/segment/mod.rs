//! One segment file: its bytes while it is filled, its journal, its end.

pub(in crate::staging) mod allocator;
mod gaps;
pub(in crate::staging) mod held;
pub(in crate::staging) mod journal;
pub(in crate::staging) mod open;
pub(in crate::staging) mod seal;

pub use held::Held;
