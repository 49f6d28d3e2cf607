//! What a key may look like.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, str::FromStr};

use globset::{GlobBuilder, GlobMatcher};
use memchr::memmem;

use crate::{catalog::find::trigrams::fold, digest::Digest};

/// What the key or the digest of a member looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pattern {
    /// Anything.
    #[default]
    Any,
    /// The key contains these bytes.
    Substring(Vec<u8>),
    /// The key matches.
    Glob(Glob),
    /// The key begins so.
    Prefix(Vec<u8>),
    /// The key is this.
    Exact(Vec<u8>),
    /// The digest begins so.
    Digest(DigestPrefix),
}

/// A shell pattern. Without a `/` it is matched against the last component of the key; with one,
/// against the whole key, where only `**` crosses a `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

/// The first digits of a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPrefix {
    pub(in crate::catalog) digits: String,
}

/// Text that cannot be searched for.
#[derive(Debug, thiserror::Error)]
pub enum BadPattern {
    /// Not a shell pattern.
    #[error("{text:?} is not a pattern")]
    Glob {
        /// The text.
        text: String,
        /// What is wrong with it.
        #[source]
        cause: Box<globset::Error>,
    },
    /// Not the beginning of a digest.
    #[error("{text:?} is not the beginning of a digest: 4 to 64 hexadecimal digits")]
    Digest {
        /// The text.
        text: String,
    },
}

impl FromStr for Glob {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let glob = Self(text.to_owned());
        match glob.compile(false) {
            Ok(_) => Ok(glob),
            Err(cause) => Err(BadPattern::Glob { text: text.to_owned(), cause: cause.into() }),
        }
    }
}

impl Glob {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Stretches that every key that matches contains.
    pub(in crate::catalog) fn literals(&self) -> Vec<Vec<u8>> {
        let mut literals = Vec::new();
        let mut literal = Vec::new();
        let mut bytes = self.0.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                // Alternatives: what any of them needs is not worth the trouble.
                b'{' => return Vec::new(),
                b'\\' => literal.extend(bytes.next()),
                b'*' | b'?' => literals.push(std::mem::take(&mut literal)),
                b'[' => {
                    literals.push(std::mem::take(&mut literal));
                    // A bracket that comes first stands for itself.
                    let mut first = true;
                    for byte in bytes.by_ref() {
                        match byte {
                            b'!' | b'^' if first => continue,
                            b']' if !first => break,
                            _ => first = false,
                        }
                    }
                }
                // `a/**/b` matches `a/b`: a slash beside `**` may not be there.
                byte => literal.push(byte),
            }
        }
        literals.push(literal);
        if self.0.contains("**") {
            for literal in &mut literals {
                let bare = literal.strip_prefix(b"/").unwrap_or(literal);
                *literal = bare.strip_suffix(b"/").unwrap_or(bare).to_vec();
            }
        }
        literals
    }

    fn compile(&self, ignore_case: bool) -> Result<GlobMatcher, globset::Error> {
        let glob = GlobBuilder::new(&self.0)
            .literal_separator(true)
            .case_insensitive(ignore_case)
            .build()?;
        Ok(glob.compile_matcher())
    }
}

impl FromStr for DigestPrefix {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let digits = text.to_ascii_lowercase();
        let good =
            (4..=64).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if good { Ok(Self { digits }) } else { Err(BadPattern::Digest { text: text.to_owned() }) }
    }
}

impl DigestPrefix {
    /// The first 32 bits of the digests that begin so, from and to.
    pub(in crate::catalog) fn range(&self) -> (u32, u32) {
        let digits = &self.digits[..self.digits.len().min(8)];
        let bound = |fill: &str| {
            let padded = format!("{digits}{}", fill.repeat(8 - digits.len()));
            u32::from_str_radix(&padded, 16).expect("8 hexadecimal digits")
        };
        (bound("0"), bound("f"))
    }

    pub(in crate::catalog) fn matches(&self, digest: &Digest) -> bool {
        digest.to_string().starts_with(&self.digits)
    }
}

/// A pattern made ready to test keys. A digest pattern passes every key.
#[derive(Debug)]
pub(in crate::catalog) enum Matcher {
    Any,
    Substring(memmem::Finder<'static>),
    Prefix(Vec<u8>),
    Exact(Vec<u8>),
    Glob {
        glob: GlobMatcher,
        last_component: bool,
        /// What a key has to contain, which is sooner found out than whether it matches.
        needs: Option<memmem::Finder<'static>>,
    },
    /// The inner matcher was made from folded text and is given folded keys.
    Folded(Box<Matcher>),
}

impl Matcher {
    pub(in crate::catalog) fn new(pattern: &Pattern, ignore_case: bool) -> Self {
        let bytes = |text: &[u8]| if ignore_case { fold(text) } else { text.to_vec() };
        let matcher = match pattern {
            Pattern::Any | Pattern::Digest(_) => return Self::Any,
            Pattern::Glob(glob) => {
                return Self::Glob {
                    glob: glob.compile(ignore_case).expect("checked when made"),
                    last_component: !glob.0.contains('/'),
                    needs: glob
                        .literals()
                        .iter()
                        .filter(|literal| !ignore_case && !literal.is_empty())
                        .max_by_key(|literal| literal.len())
                        .map(|literal| memmem::Finder::new(literal).into_owned()),
                };
            }
            Pattern::Substring(text) => {
                Self::Substring(memmem::Finder::new(&bytes(text)).into_owned())
            }
            Pattern::Prefix(text) => Self::Prefix(bytes(text)),
            Pattern::Exact(text) => Self::Exact(bytes(text)),
        };
        if ignore_case { Self::Folded(Box::new(matcher)) } else { matcher }
    }

    pub(in crate::catalog) fn matches(&self, key: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Substring(finder) => finder.find(key).is_some(),
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Exact(exact) => key == exact,
            Self::Glob { glob, last_component, needs } => {
                if needs.as_ref().is_some_and(|needs| needs.find(key).is_none()) {
                    return false;
                }
                let start = match memchr::memrchr(b'/', key) {
                    Some(slash) if *last_component => slash + 1,
                    _ => 0,
                };
                glob.is_match(OsStr::from_bytes(&key[start..]))
            }
            Self::Folded(matcher) => matcher.matches(&fold(key)),
        }
    }
}
