//! Credentials: a profile, a role, and nothing that merely happens to be there.
//!
//! What the AWS files and variables say is read from the environment, so each case runs in a
//! process of its own, which is this test program again.

use std::{env, fs, process::Command, time::Duration};

use tapevault::source::{
    SourceError,
    http::{Credentials, Role as ChosenRole},
    s3::Settings,
};

use crate::{
    chain, list, open,
    s3_server::{Fault, Put, Role, S3Server, Setup},
    settings, setup,
};

/// Which case a process of its own runs.
const CASE: &str = "TAPEVAULT_TEST_CASE";
const ARN: &str = "arn:aws:iam::123456789012:role/tape reader";

/// Runs a test of this program again, with an environment that has keys and profiles in it.
fn run(test: &str, more: &[(&str, &str)]) {
    let folder = tempfile::tempdir().expect("a folder for a config file");
    let config = folder.path().join("config");
    let Setup { key_id, secret, .. } = setup();
    let profile = format!("aws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n");
    let text = format!(
        "[default]\naws_access_key_id = WRONG\naws_secret_access_key = WRONG\n\
         [profile reader]\n{profile}[profile empty]\nregion = eu-west-1\n"
    );
    fs::write(&config, text).expect("a config file");
    let output = Command::new(env::current_exe().expect("this program has a path"))
        .args(["--exact", &format!("credentials::{test}"), "--nocapture"])
        .env(CASE, test)
        .env("AWS_CONFIG_FILE", &config)
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_ACCESS_KEY_ID", "WRONG")
        .env("AWS_SECRET_ACCESS_KEY", "WRONG")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(more.iter().copied())
        .output()
        .expect("this program starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{error}");
    assert!(told.contains("test result: ok. 1 passed"), "{told}\n{error}");
}

/// Whether this is the process that runs a case.
fn is_inner(test: &str) -> bool {
    env::var(CASE).is_ok_and(|case| case == test)
}

fn with_profile(server: &S3Server, name: &str, role: Option<ChosenRole>) -> Settings {
    let name = name.to_owned();
    Settings { credentials: Credentials::Profile { name, role }, ..settings(server) }
}

#[test]
fn a_profile_is_used_by_its_name() {
    if !is_inner("a_profile_is_used_by_its_name") {
        return run("a_profile_is_used_by_its_name", &[]);
    }
    let server = S3Server::start(setup()).unwrap();
    server.put("k", Put::default());
    assert_eq!(list(&open(with_profile(&server, "reader", None))).unwrap().len(), 1);
    for (name, told) in [
        ("nobody", "profile `nobody` was not defined"),
        ("empty", "profile empty gave no credentials"),
    ] {
        let error = list(&open(with_profile(&server, name, None))).unwrap_err();
        assert!(matches!(error, SourceError::Denied { .. }), "{error:?}");
        assert!(chain(&error).contains(told), "{}", chain(&error));
    }
    assert_eq!(server.requests().len(), 1, "nothing was tried with other keys");
}

#[test]
fn a_role_is_taken_on_and_renewed() {
    const TEST: &str = "a_role_is_taken_on_and_renewed";
    if !is_inner(TEST) {
        let role = |lasts| Role { arn: ARN.to_owned(), external_id: "x&y".to_owned(), lasts };
        for lasts in [3600, 200] {
            let setup = Setup { role: Some(role(Duration::from_secs(lasts))), ..setup() };
            let server = S3Server::start(setup).unwrap();
            for n in 0..3 {
                server.put(n.to_string(), Put::bytes("x"));
            }
            let mut expired = false;
            server.misbehave(move |_, _| {
                let first = !std::mem::replace(&mut expired, true);
                first.then_some(Fault::Refuse(400, "ExpiredToken"))
            });
            let endpoint = server.endpoint();
            run(TEST, &[("AWS_ENDPOINT_URL_STS", &endpoint), ("TAPEVAULT_TEST_URL", &endpoint)]);
            let requests = server.requests();
            let taken = requests.iter().filter(|request| request.method == "POST").count();
            let read = requests.len() - taken;
            // Keys that end within minutes are renewed for each request; others when the service
            // says that they have expired, and for the one process that named a wrong role.
            assert_eq!(taken, if lasts == 3600 { 3 } else { read + 1 }, "{lasts} s");
        }
        return;
    }
    let role = |external_id: &str| {
        Some(ChosenRole { arn: ARN.to_owned(), external_id: Some(external_id.to_owned()) })
    };
    let other = S3Server::start(setup()).unwrap();
    let at =
        |settings: Settings| Settings { endpoint: env::var("TAPEVAULT_TEST_URL").ok(), ..settings };
    let source = open(at(with_profile(&other, "reader", role("x&y"))));
    assert_eq!(list(&source).unwrap().len(), 3);
    assert_eq!(list(&source).unwrap().len(), 3);
    let error = list(&open(at(with_profile(&other, "reader", role("wrong"))))).unwrap_err();
    assert!(matches!(error, SourceError::Denied { .. }), "{error:?}");
    assert!(chain(&error).contains("with profile reader gave no credentials"), "{}", chain(&error));
}
