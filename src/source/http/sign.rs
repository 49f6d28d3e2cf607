//! Signature Version 4, in the request's headers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningError,
        SigningSettings, UriPathNormalizationMode, sign,
    },
    sign::v4,
};

use crate::clock::Timestamp;

/// How a service wants a path signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The path as it is sent, `.` and `//` and all, and the payload's SHA-256 in a header.
    S3,
    /// The path normalised and encoded once more, as every other service wants it.
    Other,
}

/// Signs requests for one service in one region.
#[derive(Clone, Debug)]
pub struct Signer {
    region: String,
    service: &'static str,
    dialect: Dialect,
}

/// The request cannot be signed: a header or the address is not text.
#[derive(Debug, thiserror::Error)]
#[error("the request cannot be signed")]
pub struct SignError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Signer {
    /// A signer for `service` (`s3`) in `region` (`eu-west-1`).
    pub fn new(region: &str, service: &'static str, dialect: Dialect) -> Self {
        Self { region: region.to_owned(), service, dialect }
    }

    /// Adds the signature, the date and, if there is one, the session token to the headers. The
    /// body is taken to be empty. `now` is this machine's time, corrected by what the service says.
    ///
    /// # Errors
    ///
    /// When a header value is not ASCII text.
    pub fn sign<B>(
        &self,
        request: &mut http::Request<B>,
        keys: &Credentials,
        now: Timestamp,
    ) -> Result<(), SignError> {
        let identity = keys.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(system_time(now))
            .settings(self.settings())
            .build()
            .map_err(|error| SignError(Box::new(error)))?
            .into();
        let instructions = {
            let headers: Vec<(&str, &str)> = request
                .headers()
                .iter()
                .map(|(name, value)| Ok((name.as_str(), value.to_str()?)))
                .collect::<Result<_, http::header::ToStrError>>()
                .map_err(|error| SignError(Box::new(error)))?;
            let signable = SignableRequest::new(
                request.method().as_str(),
                request.uri().to_string(),
                headers.into_iter(),
                SignableBody::empty(),
            );
            signable
                .and_then(|signable| sign(signable, &params))
                .map_err(|error: SigningError| SignError(Box::new(error)))?
                .into_parts()
                .0
        };
        instructions.apply_to_request_http1x(request);
        Ok(())
    }

    fn settings(&self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        match self.dialect {
            Dialect::S3 => {
                settings.percent_encoding_mode = PercentEncodingMode::Single;
                settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
                settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            }
            Dialect::Other => {
                settings.percent_encoding_mode = PercentEncodingMode::Double;
                settings.uri_path_normalization_mode = UriPathNormalizationMode::Enabled;
                settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
            }
        }
        settings
    }
}

fn system_time(now: Timestamp) -> SystemTime {
    let (seconds, nanoseconds) = now.parts();
    let seconds = u64::try_from(seconds).unwrap_or(0);
    UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(signer: &Signer, keys: &Credentials, now: &str, vector: &[&str]) {
        let [name, url, headers, expected] = vector else { panic!("four columns") };
        let mut request = http::Request::get(*url).body(()).unwrap();
        for header in headers.lines() {
            let (name, value) = header.split_once(": ").unwrap();
            request.headers_mut().append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        signer.sign(&mut request, keys, now.parse().unwrap()).unwrap();
        let authorization = request.headers()["authorization"].to_str().unwrap();
        let signature = authorization.rsplit_once("Signature=").unwrap().1;
        assert_eq!(signature, *expected, "{name}: {authorization}");
    }

    /// From the AWS Signature Version 4 test suite: what it has for requests without a body whose
    /// target is already encoded.
    #[rustfmt::skip]
    const SUITE: &[[&str; 4]] = &[
        ["get-vanilla", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"],
        ["get-header-key-duplicate", "/", "My-Header1: value2\nMy-Header1: value2\nMy-Header1: value1",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"],
        ["get-header-value-order", "/",
            "My-Header1: value4\nMy-Header1: value1\nMy-Header1: value3\nMy-Header1: value2",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"],
        ["get-header-value-trim", "/", "My-Header1: value1\nMy-Header2: \"a   b   c\"",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"],
        ["get-relative-normalized", "/example/..", "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"],
        ["get-slash-pointless-dot-normalized", "/./example", "",
            "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"],
        ["get-slashes-normalized", "//example//", "",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"],
        ["get-unreserved", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"],
        ["get-vanilla-empty-query-key", "/?Param1=value1", "",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"],
        ["get-vanilla-query-order-encoded", "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", "",
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"],
        ["get-vanilla-query-order-key-case", "/?Param2=value2&Param1=value1", "",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"],
    ];

    /// From the Amazon S3 API reference, Signature Calculations for the Authorization Header.
    #[rustfmt::skip]
    const S3: &[[&str; 4]] = &[
        ["GET Object", "/test.txt", "Range: bytes=0-9",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"],
        ["GET Bucket Lifecycle", "/?lifecycle", "",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"],
        ["GET Bucket (List Objects)", "/?max-keys=2&prefix=J", "",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"],
    ];

    #[test]
    fn published_vectors_agree() {
        let suite_secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
        let signer = Signer::new("us-east-1", "service", Dialect::Other);
        let suite_keys = Credentials::new("AKIDEXAMPLE", suite_secret, None, None, "vector");
        for [name, target, headers, signature] in SUITE {
            let url = format!("https://example.amazonaws.com{target}");
            check(&signer, &suite_keys, "2015-08-30T12:36:00Z", &[name, &url, headers, signature]);
        }
        let with_token =
            Credentials::new("AKIDEXAMPLE", suite_secret, Some(token.into()), None, "vector");
        let row = [
            "get-vanilla-with-session-token",
            "https://example.amazonaws.com/",
            "",
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ];
        check(&signer, &with_token, "2015-08-30T12:36:00Z", &row);

        let s3_secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let signer = Signer::new("us-east-1", "s3", Dialect::S3);
        let s3_keys = Credentials::new("AKIAIOSFODNN7EXAMPLE", s3_secret, None, None, "vector");
        for [name, target, headers, signature] in S3 {
            let url = format!("https://examplebucket.s3.amazonaws.com{target}");
            check(&signer, &s3_keys, "2013-05-24T00:00:00Z", &[name, &url, headers, signature]);
        }
    }
}
