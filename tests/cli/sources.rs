//! From a bucket to tape, and what goes wrong on the way there.

use std::net::TcpListener;

use tapevault::clock::{Clock, SystemClock};

use crate::{
    home::{Done, Home, Plan},
    s3_server::{Bucket, Put, S3Server, Setup, Versioning, hostile_keys},
};

const SECRET: &str = "TAPEVAULT_TEST_SECRET";

/// A home that archives the bucket at `endpoint`.
fn home(endpoint: &str) -> Home {
    let setup = Setup::default();
    let source = format!(
        "type = \"s3\"\nbucket = \"{}\"\nregion = \"{}\"\nendpoint = \"{endpoint}\"\n\
         key_variables = [\"TAPEVAULT_TEST_KEY\", \"{SECRET}\"]",
        setup.bucket, setup.region,
    );
    Home::new(&Plan { source: &source, ..Plan::default() })
}

fn archive(home: &Home, secret: &str) -> Done {
    let mut command = home.command(&["--json", "archive", "job"]);
    command.env("TAPEVAULT_TEST_KEY", Setup::default().key_id).env(SECRET, secret);
    command.output().unwrap().into()
}

/// Hostile keys, and three versions of a key with a delete marker in between.
fn server() -> S3Server {
    let now = SystemClock::new().now();
    let mut bucket = Bucket::default();
    bucket.versioning = Versioning::On;
    for key in hostile_keys() {
        bucket.put(&key, Put::bytes(key.clone()), now);
    }
    bucket.put(b"versions", Put::bytes("one"), now);
    bucket.put(b"versions", Put::bytes("two"), now);
    bucket.delete(b"versions", now);
    bucket.put(b"versions", Put::bytes("three"), now);
    S3Server::listen(Setup::default(), bucket, "127.0.0.1:0").unwrap()
}

#[test]
fn a_bucket_of_hostile_keys_comes_back_from_the_tape() {
    let server = server();
    let home = home(&server.endpoint());
    archive(&home, &Setup::default().secret).exits(0);
    let found = home.find(&[]);
    assert_eq!(found.len(), hostile_keys().len() + 4);
    let versions = home.find(&["versions", "--match", "exact"]);
    assert_eq!(versions.len(), 4, "{versions:?}");
    let markers = versions.iter().filter(|line| line["kind"] == "delete-marker");
    assert_eq!(markers.count(), 1);
    let again = archive(&home, &Setup::default().secret).exits(0);
    assert_eq!(again.events("planned")[0]["wanted"], 0, "{}", again.out);
    home.lose_catalog();
    home.run(&["catalog", "rebuild"]).exits(0);
    assert_eq!(home.find(&[]), found);
}

#[test]
fn wrong_credentials() {
    let server = server();
    let home = home(&server.endpoint());
    let done = archive(&home, "another secret");
    done.complains(6, &["source files", "→ check the credentials"]);
    home.run(&["archive", "job"]).complains(6, &["TAPEVAULT_TEST_KEY", "→ check the credentials"]);
}

#[test]
fn a_lost_network() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let home = home(&format!("http://{address}"));
    let done = archive(&home, &Setup::default().secret);
    done.complains(6, &["source files", "→ when it can be reached again"]);
}
