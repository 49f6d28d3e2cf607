//! The source's own checksums: which to trust, and whether the bytes agree.
//!
//! In this order: a checksum of the whole object, one of its parts (if it is known where they
//! begin), an entity tag that is an MD5, one of the parts' MD5s, nothing. What comes in order needs
//! no merging, so all kinds are treated alike.

use base64::{Engine, prelude::BASE64_STANDARD};
use crc_fast::CrcAlgorithm;
use http::HeaderMap;
use md5::Md5;
use sha1::Sha1;
use sha2::{
    Digest, Sha256,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use super::settings::EtagMeaning;

/// The first word of [`Meter::state`]: another one when its form changes, or that of a hash's state
/// within it.
const STATE_FORM: &str = "1";

/// How the source sums bytes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc64Nvme,
    Crc32,
    Crc32c,
    Sha256,
    Sha1,
    Md5,
}

/// The algorithms that come in a header of their own, the best first.
const IN_HEADERS: [(Algorithm, &str); 5] = [
    (Algorithm::Crc64Nvme, "x-amz-checksum-crc64nvme"),
    (Algorithm::Crc32, "x-amz-checksum-crc32"),
    (Algorithm::Crc32c, "x-amz-checksum-crc32c"),
    (Algorithm::Sha256, "x-amz-checksum-sha256"),
    (Algorithm::Sha1, "x-amz-checksum-sha1"),
];

/// A checksum that the source gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) algorithm: Algorithm,
    value: Vec<u8>,
    /// The parts whose checksums were summed up once more; `None` for one of the content itself.
    pub(super) parts: Option<u32>,
    /// As the source writes it.
    text: String,
}

/// Where the parts of an object begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    /// The source listed them.
    Exact(Vec<u64>),
    /// Only the first is known; the others but the last are taken to be as long.
    Uniform(u64),
}

/// Sums up content as it comes.
#[derive(Debug, Default)]
pub(super) struct Meter {
    offer: Option<Offer>,
    sum: Option<Sum>,
    /// Bytes of each part that are still to come; the current one first. Empty: all is one part.
    boundaries: std::collections::VecDeque<u64>,
    /// Of the parts' checksums, if that is what is offered.
    outer: Option<Sum>,
    /// Bytes that came.
    taken: u64,
    /// Whether a difference proves anything.
    exact: bool,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The bytes agree; this is which checksum with (`crc64nvme=…`).
    Agreed(String),
    /// They do not.
    Differs(Mismatch),
    /// There is nothing to compare them with.
    Unchecked,
}

/// The bytes that came are not those that the source summed up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes' {algorithm} is {computed}, the source says {stated}")]
pub(super) struct Mismatch {
    algorithm: &'static str,
    computed: String,
    stated: String,
}

/// One running checksum.
#[derive(Debug)]
enum Sum {
    Crc(crc_fast::Digest, usize),
    Sha256(Sha256),
    Sha1(Sha1),
    Md5(Md5),
}

/// The checksums that an object's head offers, the best first.
pub(super) fn offers(headers: &HeaderMap, etag: &str, meaning: EtagMeaning) -> Vec<Offer> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut offers: Vec<Offer> = IN_HEADERS
        .iter()
        .filter_map(|(algorithm, name)| Offer::read(*algorithm, text(name)?))
        .collect();
    let encrypted = text("x-amz-server-side-encryption").is_some_and(|how| how != "AES256")
        || text("x-amz-server-side-encryption-customer-algorithm").is_some();
    if meaning == EtagMeaning::Md5 && !encrypted {
        offers.extend(Offer::read(Algorithm::Md5, etag));
    }
    // Stable: of two of one kind, the better algorithm stays first.
    offers.sort_by_key(|offer| (offer.algorithm == Algorithm::Md5, offer.parts.is_some()));
    offers
}

impl Offer {
    fn read(algorithm: Algorithm, text: &str) -> Option<Self> {
        let (sum, parts) = match text.split_once('-') {
            Some((sum, parts)) => (sum, Some(parts.parse().ok()?)),
            None => (text, None),
        };
        let value = match algorithm {
            Algorithm::Md5 => from_hex(sum)?,
            Algorithm::Crc64Nvme
            | Algorithm::Crc32
            | Algorithm::Crc32c
            | Algorithm::Sha256
            | Algorithm::Sha1 => BASE64_STANDARD.decode(sum).ok()?,
        };
        let right = value.len() == algorithm.bytes();
        right.then(|| Self { algorithm, value, parts, text: text.to_owned() })
    }

    /// How a manifest names it.
    pub(super) fn label(&self) -> String {
        format!("{}={}", self.algorithm.name(), self.text)
    }
}

impl Meter {
    /// A meter of content of `size` bytes. Without an offer it counts nothing.
    ///
    /// An offer over several parts whose beginnings are not known cannot be checked.
    pub(super) fn new(offer: Option<Offer>, parts: Option<Parts>, size: u64) -> Self {
        let none = Self::default();
        let Some(offer) = offer else { return none };
        let (boundaries, exact) = match offer.parts {
            None => (Some(Vec::new()), true),
            Some(1) => (Some(vec![size]), true),
            Some(count) => match parts {
                Some(Parts::Exact(sizes)) => (Some(sizes), true),
                Some(Parts::Uniform(first)) => (uniform(first, count, size), false),
                None => (None, false),
            },
        };
        let fits = |sizes: &Vec<u64>| sizes.is_empty() || sizes.iter().sum::<u64>() == size;
        let Some(boundaries) = boundaries.filter(fits) else { return none };
        let sum = Some(offer.algorithm.start());
        let outer = offer.parts.map(|_| offer.algorithm.start());
        Self { offer: Some(offer), sum, outer, boundaries: boundaries.into(), exact, ..none }
    }

    /// How it stands, for [`Self::resume`] by another process. Empty when there is nothing to
    /// compare with.
    pub(super) fn state(&self) -> String {
        let (Some(sum), Some(offer)) = (&self.sum, &self.offer) else { return String::new() };
        let encode = |sum: &Sum| BASE64_STANDARD.encode(sum.save());
        let outer = self.outer.as_ref().map_or_else(String::new, encode);
        format!("{STATE_FORM} {} {} {} {outer}", offer.label(), self.taken, encode(sum))
    }

    /// Goes on from a state after the first `taken` bytes, as if they had come. `false`, and nothing
    /// has changed, when it is the state of something else.
    pub(super) fn resume(&mut self, state: &str, taken: u64) -> bool {
        let Some((sum, outer)) = self.read_state(state, taken) else { return false };
        let mut skip = taken;
        while let Some(left) = self.boundaries.front_mut()
            && skip > 0
        {
            let now = skip.min(*left);
            *left -= now;
            skip -= now;
            if *left == 0 {
                self.boundaries.pop_front();
            }
        }
        (self.sum, self.outer, self.taken) = (Some(sum), outer, taken);
        true
    }

    fn read_state(&self, state: &str, taken: u64) -> Option<(Sum, Option<Sum>)> {
        let offer = self.offer.as_ref()?;
        let words: Vec<&str> = state.split(' ').collect();
        let [form, label, stated, sum, outer] = words[..] else { return None };
        let fits = form == STATE_FORM && label == offer.label() && stated.parse() == Ok(taken);
        let read = |text: &str| offer.algorithm.load(&BASE64_STANDARD.decode(text).ok()?);
        let outer = match (offer.parts, outer) {
            (None, "") => None,
            (Some(_), text) => Some(read(text)?),
            (None, _) => return None,
        };
        Some((read(sum)?, outer)).filter(|_| fits)
    }

    /// Whether there is something to compare with.
    pub(super) fn compares(&self) -> bool {
        self.offer.is_some()
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        let (Some(sum), Some(offer)) = (&mut self.sum, &self.offer) else { return };
        self.taken += bytes.len() as u64;
        while let Some(left) = self.boundaries.front_mut()
            && !bytes.is_empty()
        {
            let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            sum.update(&bytes[..now]);
            bytes = &bytes[now..];
            *left -= now as u64;
            if *left == 0 {
                self.boundaries.pop_front();
                let part = std::mem::replace(sum, offer.algorithm.start());
                if let Some(outer) = &mut self.outer {
                    outer.update(&part.finish());
                }
            }
        }
        sum.update(bytes);
    }

    /// Compares.
    pub(super) fn finish(mut self) -> Verdict {
        let (Some(mut sum), Some(offer)) = (self.sum.take(), self.offer.take()) else {
            return Verdict::Unchecked;
        };
        if let Some(mut outer) = self.outer.take() {
            // Of an empty object the one part has not been closed by any byte.
            while self.boundaries.pop_front().is_some() {
                let part = std::mem::replace(&mut sum, offer.algorithm.start());
                outer.update(&part.finish());
            }
            sum = outer;
        }
        let computed = sum.finish();
        if computed == offer.value {
            return Verdict::Agreed(offer.label());
        }
        if !self.exact {
            return Verdict::Unchecked;
        }
        let computed = if offer.algorithm == Algorithm::Md5 {
            to_hex(&computed)
        } else {
            BASE64_STANDARD.encode(&computed)
        };
        let algorithm = offer.algorithm.name();
        Verdict::Differs(Mismatch { algorithm, computed, stated: offer.text })
    }
}

/// The parts of an object whose first is `first` bytes long, if `count` of them can make `size`.
fn uniform(first: u64, count: u32, size: u64) -> Option<Vec<u64>> {
    if first == 0 || size.div_ceil(first) != u64::from(count) {
        return None;
    }
    let last = size - first * u64::from(count - 1);
    let mut sizes = vec![first; usize::try_from(count - 1).ok()?];
    sizes.push(last);
    Some(sizes)
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "crc64nvme",
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Crc64Nvme => 8,
            Self::Crc32 | Self::Crc32c => 4,
            Self::Sha256 => 32,
            Self::Sha1 => 20,
            Self::Md5 => 16,
        }
    }

    fn start(self) -> Sum {
        match self {
            Self::Crc64Nvme => Sum::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme), 8),
            Self::Crc32 => Sum::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc), 4),
            Self::Crc32c => Sum::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi), 4),
            Self::Sha256 => Sum::Sha256(Sha256::new()),
            Self::Sha1 => Sum::Sha1(Sha1::new()),
            Self::Md5 => Sum::Md5(Md5::new()),
        }
    }
}

impl Algorithm {
    /// Reads what [`Sum::save`] wrote.
    fn load(self, state: &[u8]) -> Option<Sum> {
        fn hash<H: SerializableState>(state: &[u8]) -> Option<H> {
            H::deserialize(&SerializedState::<H>::try_from(state).ok()?).ok()
        }
        let crc = |algorithm| {
            let state = u64::from_be_bytes(state.try_into().ok()?);
            let digest = crc_fast::Digest::new_with_init_state(algorithm, state);
            Some(Sum::Crc(digest, self.bytes()))
        };
        match self {
            Self::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme),
            Self::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => crc(CrcAlgorithm::Crc32Iscsi),
            Self::Sha256 => hash(state).map(Sum::Sha256),
            Self::Sha1 => hash(state).map(Sum::Sha1),
            Self::Md5 => hash(state).map(Sum::Md5),
        }
    }
}

impl Sum {
    fn save(&self) -> Vec<u8> {
        match self {
            Self::Crc(digest, _) => digest.get_state().to_be_bytes().to_vec(),
            Self::Sha256(digest) => digest.serialize().to_vec(),
            Self::Sha1(digest) => digest.serialize().to_vec(),
            Self::Md5(digest) => digest.serialize().to_vec(),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(digest, _) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Md5(digest) => digest.update(bytes),
        }
    }

    /// The value, the most significant byte first.
    fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(digest, bytes) => digest.finalize().to_be_bytes()[8 - bytes..].to_vec(),
            Self::Sha256(digest) => digest.finalize().to_vec(),
            Self::Sha1(digest) => digest.finalize().to_vec(),
            Self::Md5(digest) => digest.finalize().to_vec(),
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn measure(meter: Meter, bytes: &[u8], step: usize) -> Verdict {
        let mut meter = meter;
        for chunk in bytes.chunks(step) {
            meter.update(chunk);
        }
        meter.finish()
    }

    fn offer(algorithm: Algorithm, text: &str) -> Offer {
        Offer::read(algorithm, text).unwrap()
    }

    /// The check values of the CRC catalogue and of the hash standards for `123456789`.
    #[test]
    fn each_algorithm_agrees_with_its_published_value() {
        for (algorithm, value) in [
            (Algorithm::Crc64Nvme, "rosUhgp5mIg="),
            (Algorithm::Crc32, "y/Q5Jg=="),
            (Algorithm::Crc32c, "4waSgw=="),
            (Algorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
            (Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
            (Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
        ] {
            let offer = offer(algorithm, value);
            let label = format!("{}={value}", algorithm.name());
            let meter = Meter::new(Some(offer.clone()), None, 9);
            assert_eq!(measure(meter, b"123456789", 2), Verdict::Agreed(label));
            let wrong = measure(Meter::new(Some(offer), None, 9), b"123456780", 9);
            assert!(matches!(wrong, Verdict::Differs(_)), "{algorithm:?}: {wrong:?}");
        }
    }

    #[test]
    fn parts_are_summed_up_once_more() {
        // md5(md5("12345") + md5("6789")), made with md5sum.
        let composite = offer(Algorithm::Md5, "324730582f20c3f18cbb66d63a6137d2-2");
        for (parts, agreed) in [
            (Some(Parts::Exact(vec![5, 4])), true),
            (Some(Parts::Uniform(5)), true),
            (Some(Parts::Uniform(4)), false),
            (Some(Parts::Exact(vec![5, 5])), false),
            (None, false),
        ] {
            for step in 1..10 {
                let meter = Meter::new(Some(composite.clone()), parts.clone(), 9);
                let verdict = measure(meter, b"123456789", step);
                let expected = match agreed {
                    true => Verdict::Agreed("md5=324730582f20c3f18cbb66d63a6137d2-2".to_owned()),
                    false => Verdict::Unchecked,
                };
                assert_eq!(verdict, expected, "{parts:?} by {step}");
            }
        }
        let exact = Meter::new(Some(composite), Some(Parts::Exact(vec![6, 3])), 9);
        assert!(matches!(measure(exact, b"123456789", 4), Verdict::Differs(_)));
    }

    #[test]
    fn each_algorithm_goes_on_from_its_state() {
        let bytes: Vec<u8> = (0..100_u8).collect();
        let sizes = [30, 30, 40];
        for algorithm in
            IN_HEADERS.map(|(algorithm, _)| algorithm).into_iter().chain([Algorithm::Md5])
        {
            let sum = |bytes: &[u8]| {
                let mut sum = algorithm.start();
                sum.update(bytes);
                sum.finish()
            };
            let parts = [&bytes[..30], &bytes[30..60], &bytes[60..]];
            let of_parts: Vec<u8> = parts.into_iter().flat_map(sum).collect();
            let is_md5 = algorithm == Algorithm::Md5;
            let encode =
                |sum: Vec<u8>| if is_md5 { to_hex(&sum) } else { BASE64_STANDARD.encode(sum) };
            let whole = (encode(sum(&bytes)), None);
            let composite =
                (format!("{}-3", encode(sum(&of_parts))), Some(Parts::Exact(sizes.to_vec())));
            for (text, parts) in [whole, composite] {
                let meter = || Meter::new(Some(offer(algorithm, &text)), parts.clone(), 100);
                let agreed = Verdict::Agreed(offer(algorithm, &text).label());
                for cut in [0, 1, 30, 59, 60, 64, 99, 100] {
                    let mut first = meter();
                    first.update(&bytes[..cut]);
                    let mut second = meter();
                    assert!(!second.resume(&first.state(), cut as u64 + 1), "another place");
                    assert!(second.resume(&first.state(), cut as u64), "{text} at {cut}");
                    second.update(&bytes[cut..]);
                    assert_eq!(second.finish(), agreed, "at {cut}");
                }
                assert!(!meter().resume("", 0) && !meter().resume("1 md5=0 0 AAAA ", 0));
            }
        }
    }

    #[test]
    fn an_empty_object_has_checksums_too() {
        let whole = offer(Algorithm::Md5, "d41d8cd98f00b204e9800998ecf8427e");
        assert!(matches!(Meter::new(Some(whole), None, 0).finish(), Verdict::Agreed(_)));
        // md5(md5("")), made with md5sum.
        let one_part = offer(Algorithm::Md5, "59adb24ef3cdbe0297f05b395827453f-1");
        assert!(matches!(Meter::new(Some(one_part), None, 0).finish(), Verdict::Agreed(_)));
    }

    #[test]
    fn the_best_offer_comes_first() {
        let md5 = "25f9e794323b453885f5181f1b624d0b";
        let all = headers(&[
            ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=-3"),
            ("x-amz-checksum-crc32c", "4waSgw=="),
            ("x-amz-checksum-crc32", "not base64"),
        ]);
        let labels = |headers: &HeaderMap, etag: &str, meaning| -> Vec<String> {
            offers(headers, etag, meaning).iter().map(Offer::label).collect()
        };
        assert_eq!(
            labels(&all, md5, EtagMeaning::Md5),
            [
                "crc32c=4waSgw==".to_owned(),
                "sha256=FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=-3".to_owned(),
                format!("md5={md5}"),
            ]
        );
        assert_eq!(labels(&HeaderMap::new(), md5, EtagMeaning::Opaque), [""; 0]);
        assert_eq!(labels(&HeaderMap::new(), "0xABC-D", EtagMeaning::Md5), [""; 0]);
        let kms = headers(&[("x-amz-server-side-encryption", "aws:kms")]);
        assert_eq!(labels(&kms, md5, EtagMeaning::Md5), [""; 0]);
        let customer = headers(&[("x-amz-server-side-encryption-customer-algorithm", "AES256")]);
        assert_eq!(labels(&customer, md5, EtagMeaning::Md5), [""; 0]);
        let plain = headers(&[("x-amz-server-side-encryption", "AES256")]);
        assert_eq!(labels(&plain, md5, EtagMeaning::Md5), [format!("md5={md5}")]);
    }
}
