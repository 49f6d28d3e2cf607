//! The `s3` source, against a server in this process that can misbehave, and against moto, which
//! other people wrote.

mod content;
mod credentials;
mod faults;
mod listing;
mod moto;

#[allow(dead_code, reason = "each user needs a part of it")]
#[path = "../support/memory_sink.rs"]
mod memory_sink;
#[allow(dead_code, reason = "each user needs a part of it")]
#[path = "../support/s3_server/mod.rs"]
mod s3_server;

use std::{env, sync::Arc, time::Duration};

use tapevault::{
    cancel::Cancel,
    causes::chain,
    clock::SystemClock,
    item::Listed,
    source::{
        Source, SourceError,
        http::{Credentials, Retry},
        s3::{S3, Settings, Style, Versions},
    },
};

use memory_sink::MemorySink;
use s3_server::{S3Server, Setup};

const MIB: u64 = 1 << 20;

/// Variables that cargo sets for every test, so that none has to be set while threads run.
const KEY_ID_VARIABLE: &str = "CARGO_PKG_NAME";
const SECRET_VARIABLE: &str = "CARGO_PKG_DESCRIPTION";

fn setup() -> Setup {
    let variable = |name| env::var(name).expect("cargo sets it");
    Setup {
        key_id: variable(KEY_ID_VARIABLE),
        secret: variable(SECRET_VARIABLE),
        ..Setup::default()
    }
}

fn server() -> S3Server {
    S3Server::start(setup()).expect("the loopback interface has free ports")
}

fn settings(server: &S3Server) -> Settings {
    let credentials = Credentials::Environment {
        key_id: KEY_ID_VARIABLE.to_owned(),
        secret: SECRET_VARIABLE.to_owned(),
        session_token: None,
    };
    Settings {
        endpoint: Some(server.endpoint()),
        style: Style::Path,
        versions: Versions::All,
        retry: Retry {
            attempts: 4,
            first: Duration::from_millis(1),
            longest: Duration::from_millis(5),
        },
        ..Settings::new(&setup().region, &setup().bucket, credentials)
    }
}

fn open(settings: Settings) -> S3 {
    S3::open(settings, Arc::new(SystemClock::new())).expect("the endpoint is an address")
}

fn list(source: &S3) -> Result<Vec<Listed>, SourceError> {
    let mut listed = Vec::new();
    let findings = MemorySink::new(MIB);
    let mut visit = |item| {
        listed.push(item);
        Ok(())
    };
    source.list(&mut visit, &findings, &Cancel::new())?;
    assert!(findings.findings().is_empty());
    Ok(listed)
}

/// Lists and fetches everything.
fn fetch_all(source: &S3, sink: &MemorySink) -> Result<(), SourceError> {
    fetch(source, list(source)?, sink)
}

fn fetch(source: &S3, wanted: Vec<Listed>, sink: &MemorySink) -> Result<(), SourceError> {
    source.fetch(&mut wanted.into_iter(), sink, &Cancel::new())
}

/// Bytes that do not repeat, so that a misplaced range shows.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut bytes = Vec::with_capacity(length + 4);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
