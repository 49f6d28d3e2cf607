//! What the operator asked for, composed of everything below.
