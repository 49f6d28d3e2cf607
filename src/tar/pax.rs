//! Records of a pax extended header: `LENGTH KEYWORD=VALUE\n`, where the length counts itself.

/// Decimal digits of `number`.
pub(super) fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Appends one record.
pub(super) fn push(out: &mut Vec<u8>, keyword: &str, value: &[u8]) {
    push_split(out, keyword, "", value);
}

/// Appends one record whose keyword comes in two halves.
pub(super) fn push_split(out: &mut Vec<u8>, first: &str, second: &str, value: &[u8]) {
    // The blank, the equals sign and the newline.
    let rest = first.len() + second.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if digits(length) + rest != length {
        length = rest + digits(length);
    }
    push_number(out, length as u64);
    out.push(b' ');
    out.extend_from_slice(first.as_bytes());
    out.extend_from_slice(second.as_bytes());
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends `number` in decimal.
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0_u8; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b"0123456789"[usize::try_from(number % 10).expect("a digit")];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// One record of an extended header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) keyword: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Takes one record off `bytes`: the record and what follows it. `None` when it is malformed.
pub(super) fn take(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let blank = bytes.iter().take(8).position(|&b| b == b' ')?;
    let length = number(&bytes[..blank])?;
    let length = usize::try_from(length).ok()?;
    let record = bytes.get(blank + 1..length)?;
    let (&last, body) = record.split_last()?;
    let equals = body.iter().position(|&b| b == b'=')?;
    let good = last == b'\n' && equals > 0;
    good.then(|| {
        (Record { keyword: &body[..equals], value: &body[equals + 1..] }, &bytes[length..])
    })
}

/// Reads a decimal number that consists of 1 to 20 digits and nothing else.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_counts_itself() {
        for len in (0..1100).chain([9_970, 9_985, 9_999, 99_984, 99_985]) {
            let value = vec![b'v'; len];
            let mut out = Vec::new();
            push_split(&mut out, "com", "ment", &value);
            let (record, rest) = take(&out).unwrap();
            assert_eq!(record, Record { keyword: b"comment", value: &value });
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in ["", "7", "6 a=bc", "5 a=b", "7 a=b\n", "0 \n", "-6 a=b\n", "4 =\n", "5 ab\n"] {
            assert_eq!(take(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
