//! The kernel's raw interfaces, and all unsafe code of the project: the ioctls of `sg` and `st`,
//! the shared memory of TCM-user, and large pages.
//!
//! It names nothing of the project's own, so that each argument for safety can be read alone.
#![allow(
    unsafe_code,
    reason = "ioctls, shared memory and advice about memory have no safe interface"
)]

pub mod map;
pub mod memory;
pub mod mt;
pub mod sg;
pub mod tcmu;
