//! Listing a bucket: pages of at most a thousand entries, each of which has to prove that it is
//! whole and that it goes on where the last one ended.

mod page;
mod walk;

pub(super) use page::Found;
pub(super) use walk::{Walk, find};
