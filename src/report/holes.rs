//! The map of what a volume does not give, as a table.

use crate::{
    ident::{Barcode, Volser},
    job::holes::{HitMember, Hole, OtherCopy, Span},
    printable::Printable,
    report::table::Table,
    unit::Count,
};

/// A heading, a row for each hole, and what the table leaves out.
pub(super) fn map(
    (volser, barcode): (Volser, Option<Barcode>),
    holes: &[Hole],
    more: u64,
) -> String {
    let sticker = barcode.map_or_else(|| volser.to_string(), |barcode| barcode.to_string());
    let mut table = Table::new(&[
        "item",
        "hit",
        "bytes of the item",
        "bytes of the tape file",
        "blocks of the tape",
        "other copy",
    ]);
    for hole in holes {
        let how = if hole.unread { "cannot be read" } else { "is wrong" };
        let more = if hole.more { ", not read further" } else { "" };
        let content = hole.member.as_ref().and_then(|member| member.bytes);
        table.row(vec![
            hole.member.as_ref().map_or_else(|| format!("(segment {})", hole.segment), item),
            format!("{} {how}{more}", hole.what),
            content.map_or_else(|| "-".to_owned(), |bytes| span(&bytes)),
            span(&hole.bytes),
            span(&Span { from: hole.object.0, to: hole.last_object.0 + 1 }),
            copies(hole),
        ]);
    }
    let mut text = format!("{sticker} does not give all that is on it:\n{table}");
    if more > 0 {
        text.push_str(&format!("and {} more\n", Count(more)));
    }
    text.truncate(text.trim_end().len());
    text
}

/// First and last, as people count them off.
pub(super) fn span(span: &Span) -> String {
    match span.to.saturating_sub(1).max(span.from) {
        last if last == span.from => last.to_string(),
        last => format!("{} to {last}", span.from),
    }
}

fn item(member: &HitMember) -> String {
    let mut text = format!("{}: {}", member.source, member.key.printable());
    if !member.version.is_none() {
        text.push_str(&format!(" [version {}]", Printable::from(&*member.version.0)));
    }
    if let Some(part) = member.part {
        text.push_str(&format!(", part {} of {}", part.number, part.of));
    }
    text
}

fn copies(hole: &Hole) -> String {
    let words = |copy: &OtherCopy| {
        let sticker =
            copy.barcode.map_or_else(|| copy.volser.to_string(), |barcode| barcode.to_string());
        let proof = match copy.verified {
            // The day is enough for a table.
            Some(when) => format!("verified {}", &when.to_string()[..10]),
            None => "not verified".to_owned(),
        };
        let used = if hole.came_from == Some(copy.volser) { "; restored from it" } else { "" };
        format!("{sticker} ({}, {proof}{used})", copy.place)
    };
    if hole.copies.is_empty() {
        return "none".to_owned();
    }
    hole.copies.iter().map(words).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, ident::SegmentId, item::Version, position::ObjectNumber};

    #[test]
    fn a_map_says_what_where_and_who_else() {
        let member = HitMember {
            ordinal: 3,
            source: "files".parse().unwrap(),
            key: "a\nb".into(),
            version: Version::default(),
            part: None,
            bytes: Some(Span { from: 0, to: 4096 }),
        };
        let hole = Hole {
            segment: SegmentId(uuid::Uuid::nil()),
            what: "data",
            unread: true,
            object: ObjectNumber(7),
            last_object: ObjectNumber(7),
            bytes: Span { from: 8192, to: 12_288 },
            more: false,
            member: Some(member),
            copies: vec![OtherCopy {
                volser: "A00002".parse().unwrap(),
                barcode: Some("A00002L8".parse().unwrap()),
                place: "vault north".into(),
                verified: Some(Timestamp::from_parts(1_790_000_000, 0)),
            }],
            came_from: Some("A00002".parse().unwrap()),
        };
        let bare = Hole { member: None, what: "trailer", copies: Vec::new(), ..hole.clone() };
        let told = map(("A00001".parse().unwrap(), None), &[hole, bare], 2);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[0], "A00001 does not give all that is on it:");
        assert!(lines[1].starts_with("item "), "{told}");
        assert!(lines[2].starts_with("files: a\\nb "), "{told}");
        let row = "data cannot be read     0 to 4095          8192 to 12287           7";
        assert!(lines[2].contains(row), "{told}");
        assert!(
            lines[2].ends_with("A00002L8 (vault north, verified 2026-09-21; restored from it)")
        );
        assert!(lines[3].starts_with("(segment 00000000-") && lines[3].ends_with("none"), "{told}");
        assert_eq!(lines[4], "and 2 more");
    }
}
