//! The `s3` source: a bucket of any service that speaks S3.
//!
//! [`S3::open`] speaks to nobody yet. Each object is read by a plain thread that asks the network
//! through the runtime inside and hands bytes to the sink itself, so the asynchronous part never
//! waits for a disk.

mod bucket;
mod checksum;
mod fetch;
mod head;
mod listing;
mod object;
mod settings;

pub use fetch::S3;
pub use settings::{EtagMeaning, Settings, Style, Tags, Versions};
