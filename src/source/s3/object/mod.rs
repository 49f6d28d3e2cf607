//! Reading one object: its head, its content, what stands beside it, and what can go wrong.

mod beside;
mod deliver;
mod range;
mod trouble;

pub(super) use deliver::Delivery;
