//! All unsafe code: the ioctls of `sg` and `st`, and the shared memory of TCM-user.
