//! The config file, checked strictly.
