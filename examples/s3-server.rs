//! An S3 server for trying tapevault out: one bucket in memory, on one address.
//!
//! ```text
//! cargo run --example s3-server -- [--listen 127.0.0.1:9000] [--demo] [DIRECTORY]
//! ```
//!
//! It serves the files of DIRECTORY, and with `--demo` a versioned bucket of keys that are hard to
//! archive. The bucket, the region and the two keys that it takes are printed; `AWS_ACCESS_KEY_ID`
//! and `AWS_SECRET_ACCESS_KEY` set other keys. It serves until its standard input ends.

#[allow(dead_code, unused_imports, reason = "each user needs a part of it")]
#[path = "../tests/support/s3_server/mod.rs"]
mod s3_server;

use std::{
    env, fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use tapevault::clock::{Clock, SystemClock};

use s3_server::{Bucket, Checksum, Put, S3Server, Setup, Versioning, hostile_keys};

struct Arguments {
    listen: String,
    demo: bool,
    directory: Option<PathBuf>,
}

fn main() -> io::Result<()> {
    let arguments = arguments()?;
    let mut setup = Setup::default();
    setup.key_id = env::var("AWS_ACCESS_KEY_ID").unwrap_or(setup.key_id);
    setup.secret = env::var("AWS_SECRET_ACCESS_KEY").unwrap_or(setup.secret);
    let mut bucket = Bucket::default();
    if let Some(directory) = &arguments.directory {
        fill(&mut bucket, directory, directory)?;
    }
    if arguments.demo {
        demo(&mut bucket);
    }
    let keys = bucket.keys.len();
    let server = S3Server::listen(setup.clone(), bucket, &arguments.listen)?;
    writeln!(
        io::stdout(),
        "endpoint={}\nbucket={}\nregion={}\nAWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}\n\
         {keys} keys",
        server.endpoint(),
        setup.bucket,
        setup.region,
        setup.key_id,
        setup.secret,
    )?;
    io::copy(&mut io::stdin().take(u64::MAX), &mut io::sink())?;
    Ok(())
}

fn arguments() -> io::Result<Arguments> {
    let mut arguments =
        Arguments { listen: "127.0.0.1:9000".to_owned(), demo: false, directory: None };
    let mut given = env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--demo" => arguments.demo = true,
            "--listen" => {
                arguments.listen =
                    given.next().ok_or_else(|| io::Error::other("--listen needs an address"))?;
            }
            option if option.starts_with('-') => {
                return Err(io::Error::other(format!("unknown option {option}")));
            }
            directory => arguments.directory = Some(PathBuf::from(directory)),
        }
    }
    Ok(arguments)
}

/// Puts the files below `directory` into the bucket, by their path below `root`.
fn fill(bucket: &mut Bucket, root: &Path, directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            fill(bucket, root, &path)?;
        } else if kind.is_file() {
            let key = path.strip_prefix(root).expect("it was found below the root");
            let put = Put { checksum: Some(Checksum::Crc64Nvme), ..Put::bytes(fs::read(&path)?) };
            bucket.put(key.as_os_str().as_encoded_bytes(), put, SystemClock::new().now());
        }
    }
    Ok(())
}

/// Hostile keys; three versions of a key with a delete marker in between; parts, tags, metadata.
fn demo(bucket: &mut Bucket) {
    let now = SystemClock::new().now();
    bucket.versioning = Versioning::On;
    for key in hostile_keys() {
        bucket.put(&key, Put::bytes(key.clone()), now);
    }
    bucket.put(b"versions", Put::bytes("one"), now);
    bucket.put(b"versions", Put::bytes("two"), now);
    bucket.delete(b"versions", now);
    bucket.put(b"versions", Put::bytes("three"), now);
    let body: Vec<u8> = (0..12u32 << 18).flat_map(u32::to_le_bytes).collect();
    let parts = vec![8 << 20, 4 << 20];
    bucket.put(b"large", Put { parts, ..Put::bytes(body) }, now);
    let described = Put {
        headers: vec![
            ("content-type".to_owned(), b"text/plain".to_vec()),
            ("x-amz-meta-owner".to_owned(), "J\u{fc}rgen".as_bytes().to_vec()),
        ],
        tags: vec![("class".to_owned(), "gold".to_owned())],
        checksum: Some(Checksum::Crc64Nvme),
        ..Put::bytes("described")
    };
    bucket.put(b"described", described, now);
}
