//! Names: of volumes, cartridges, segments, sessions, sources. Each is checked when it is made.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A name that breaks its rule.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a {what}: {rule}")]
pub struct BadName {
    what: &'static str,
    text: String,
    rule: &'static str,
}

/// Volume serial: six of `A`–`Z` and `0`–`9`, what the operator calls the volume.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Volser([u8; 6]);

/// What the scanner reads: the volser and, unless the library trims it, the two-character media
/// identifier (`A00012L8`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Barcode {
    volser: Volser,
    media: Option<[u8; 2]>,
}

const VOLSER_RULE: &str = "six characters, A to Z and 0 to 9";
const BARCODE_RULE: &str = "a volser of six characters, then a media identifier such as L8";

impl Volser {
    /// The six characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when made")
    }
}

impl Barcode {
    /// The first six characters.
    pub fn volser(self) -> Volser {
        self.volser
    }

    /// The media identifier (`L8`), if the scanner delivered it.
    pub fn media(&self) -> Option<&str> {
        self.media.as_ref().map(|media| std::str::from_utf8(media).expect("checked when made"))
    }

    /// Whether both may be the same sticker: libraries can be set to trim the media identifier.
    pub fn matches(self, other: Self) -> bool {
        self.volser == other.volser
            && (self.media == other.media || self.media.is_none() || other.media.is_none())
    }

    /// Whether this is a cleaning cartridge's.
    pub fn is_cleaning(self) -> bool {
        self.volser.as_str().starts_with("CLN") || self.media() == Some("CU")
    }
}

impl From<Volser> for Barcode {
    /// A barcode whose media identifier is not known.
    fn from(volser: Volser) -> Self {
        Self { volser, media: None }
    }
}

impl FromStr for Volser {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let error = || BadName { what: "volser", text: text.to_owned(), rule: VOLSER_RULE };
        let bytes: [u8; 6] = text.as_bytes().try_into().map_err(|_| error())?;
        let good = bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        good.then_some(Self(bytes)).ok_or_else(error)
    }
}

impl FromStr for Barcode {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let error = || BadName { what: "barcode", text: text.to_owned(), rule: BARCODE_RULE };
        let trimmed = text.trim_matches(['\0', ' ']);
        let (volser, media) = trimmed.split_at_checked(6).ok_or_else(error)?;
        let volser = volser.parse().map_err(|_| error())?;
        if media.is_empty() {
            return Ok(Self { volser, media: None });
        }
        let media: [u8; 2] = media.as_bytes().try_into().map_err(|_| error())?;
        let good = media.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        good.then_some(Self { volser, media: Some(media) }).ok_or_else(error)
    }
}

impl fmt::Display for Volser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Barcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}", self.volser, self.media().unwrap_or_default()))
    }
}

/// `TryFrom<String>` and back for serde, and `Debug` as the text itself.
macro_rules! text_forms {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.to_string()
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}

text_forms!(Volser, Barcode, SourceName, PoolName, JobName);

/// A name that the operator chooses in the config and that becomes part of paths.
macro_rules! chosen_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let good = (1..=63).contains(&text.len())
                    && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
                    && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
                let rule = "1 to 63 of a to z, 0 to 9, '-', '_' and '.', beginning with a letter or digit";
                good.then(|| Self(text.to_owned()))
                    .ok_or_else(|| BadName { what: $what, text: text.to_owned(), rule })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

chosen_name!(
    /// A source of items, as the config names it. It is the first component of its paths on tape.
    SourceName,
    "source name"
);
chosen_name!(
    /// A pool of media with one purpose.
    PoolName,
    "pool name"
);
chosen_name!(
    /// A job, as the config names it.
    JobName,
    "job name"
);

/// A 128-bit identifier that is never used twice. New ones sort by the time they were made.
macro_rules! unique {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new one (UUID version 7).
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0.to_string())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

unique!(
    /// One labelling of one cartridge. Labelling it again makes another volume.
    VolumeId,
    /// One sealed segment file, wherever its copies are.
    SegmentId,
    /// What one archive job wrote together.
    SetId,
    /// One snapshot of one source.
    RunId,
    /// One uninterrupted hold of a drive within a job.
    SessionId,
    /// A catalog, from the moment it was made.
    CatalogId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn barcodes_are_checked() {
        let barcode: Barcode = "A00012L8".parse().unwrap();
        assert_eq!(barcode.volser().as_str(), "A00012");
        assert_eq!(barcode.media(), Some("L8"));
        assert!(barcode.matches("A00012".parse().unwrap()));
        assert!(!barcode.matches("A00012L9".parse().unwrap()));
        assert!("CLNU01L1".parse::<Barcode>().unwrap().is_cleaning());
        for bad in ["", "A0001", "a00012L8", "A00012L", "A00012L88", "A0001/L8", "AÄ0012"] {
            assert!(bad.parse::<Barcode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn chosen_names_are_safe_path_components() {
        for bad in ["", ".", "..", "a/b", "-x", "A", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<SourceName>().is_err(), "{bad}");
        }
        assert_eq!("web-1.eu_x".parse::<SourceName>().unwrap().as_str(), "web-1.eu_x");
    }
}
