//! From a segment file to a drive: one sequential read through a deep ring, digested on the way.
