//! The tape drive: SSC over any transport, with outcomes sorted by what the caller does next.
