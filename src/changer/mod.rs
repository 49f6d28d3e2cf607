//! The media changer: SMC over any transport.
