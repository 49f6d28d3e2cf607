//! Segment files on disk: claimed regions filled concurrently, sealed as the bytes of a tape file.
