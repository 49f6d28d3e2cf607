//! Roles: the one call of the token service that gives keys for a while.

use std::time::Duration;

use tapevault::clock::Timestamp;

use super::{
    auth::Keys,
    wire::{Answer, Request, percent_decode},
};

/// A role, and the keys that whoever takes it on gets.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) arn: String,
    pub(crate) external_id: String,
    /// How long the keys are good for.
    pub(crate) lasts: Duration,
}

const SECRET: &str = "secret/of+the=role";
const TOKEN: &str = "token//of+the=role==";

impl Role {
    /// The keys that the bucket takes.
    pub(super) fn keys(&self, own: Keys) -> Keys {
        Keys {
            id: "ASIAROLE".to_owned(),
            secret: SECRET.to_owned(),
            session_token: Some(TOKEN.to_owned()),
            ..own
        }
    }

    /// Answers a request to take the role on, signed with the keys of one's own.
    pub(super) fn take_on(&self, own: Keys, request: &Request, now: Timestamp) -> Answer {
        if let Err(refusal) = (Keys { service: "sts", ..own }).check(request, now) {
            return refusal;
        }
        let form = String::from_utf8_lossy(&request.body).replace('+', " ");
        let field = |name: &str| {
            let value = form.split('&').find_map(|pair| pair.strip_prefix(name));
            value.and_then(|value| value.strip_prefix('=')).map(percent_decode)
        };
        let right = field("Action").as_deref() == Some(b"AssumeRole")
            && field("RoleArn").as_deref() == Some(self.arn.as_bytes())
            && field("ExternalId").as_deref() == Some(self.external_id.as_bytes());
        if !right {
            let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                        <Message>not for you</Message></Error></ErrorResponse>";
            return Answer::new(403, body.into()).with("content-type", "text/xml");
        }
        let ends = now.after(self.lasts);
        let ends =
            ends.to_string().split('.').next().unwrap_or_default().trim_end_matches('Z').to_owned();
        let body = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>\
             <SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>{TOKEN}</SessionToken>\
             <Expiration>{ends}Z</Expiration></Credentials></AssumeRoleResult>\
             </AssumeRoleResponse>"
        );
        Answer::new(200, body.into_bytes()).with("content-type", "text/xml")
    }
}
