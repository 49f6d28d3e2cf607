//! The kernel's raw interfaces, and all unsafe code of the project: the ioctls of `sg` and `st`,
//! and the shared memory of TCM-user.
//!
//! It names nothing of the project's own, so that each argument for safety can be read alone.
#![allow(unsafe_code, reason = "ioctls and shared memory have no safe interface")]

pub mod map;
pub mod mt;
pub mod sg;
pub mod tcmu;
