//! What the tape half does next: pure decisions.

use crate::ident::SegmentId;

/// A staged segment that wants more copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) segment: SegmentId,
    /// Good copies that it has.
    pub(super) copies: u32,
    /// Whether one of them is on the volume of the session.
    pub(super) is_here: bool,
}

/// How things stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation<'a> {
    /// Segments in the order that they were sealed in.
    pub(super) pending: &'a [Pending],
    /// Which copy the open session writes, from 1.
    pub(super) session: Option<u32>,
    /// Whether more segments may come.
    pub(super) exporting: bool,
    /// Whether the export waits for room in staging.
    pub(super) blocked: bool,
    /// Whether closing the session makes much room: staging keeps manifests until an index has them,
    /// and, if it is to, segments until they are verified.
    pub(super) closing_frees: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write this segment.
    Write(SegmentId),
    /// Wait for the export.
    Wait,
    /// Close the session: this volume has nothing more to do now.
    Close,
    /// Begin a session that writes this copy.
    Open {
        /// From 1.
        copy: u32,
    },
    /// All is written.
    Done,
}

/// Decides. A segment's copies are written in turn: whoever has none comes first, and a cartridge
/// is only changed when its copies are all that can be written.
pub(super) fn next(now: Situation<'_>) -> Next {
    let Some(copy) = now.session else { return open(now) };
    let fitting = |pending: &&Pending| pending.copies + 1 == copy && !pending.is_here;
    if let Some(pending) = now.pending.iter().find(fitting) {
        return Next::Write(pending.segment);
    }
    let others = now.pending.iter().any(|pending| pending.copies + 1 != copy || pending.is_here);
    let makes_room = now.blocked && (others || now.closing_frees);
    if now.exporting && !makes_room && (copy == 1 || !others) {
        return Next::Wait;
    }
    Next::Close
}

fn open(now: Situation<'_>) -> Next {
    let Some(copies) = now.pending.iter().map(|pending| pending.copies).min() else {
        return if now.exporting { Next::Wait } else { Next::Done };
    };
    // A further copy can wait as long as the export has room: the first copies of what comes
    // would ask for the cartridge back.
    if copies > 0 && now.exporting && !now.blocked {
        return Next::Wait;
    }
    Next::Open { copy: copies + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(copies: &[u32]) -> Vec<Pending> {
        let one =
            |copies: &u32| Pending { segment: SegmentId::new(), copies: *copies, is_here: false };
        copies.iter().map(one).collect()
    }

    fn decide(pending: &[Pending], session: Option<u32>, exporting: bool, blocked: bool) -> Next {
        next(Situation { pending, session, exporting, blocked, closing_frees: false })
    }

    #[test]
    fn first_copies_come_first() {
        let segments = pending(&[1, 0, 0]);
        assert_eq!(decide(&segments, None, true, false), Next::Open { copy: 1 });
        assert_eq!(decide(&segments, Some(1), true, false), Next::Write(segments[1].segment));
        assert_eq!(decide(&segments, Some(2), true, false), Next::Write(segments[0].segment));
    }

    #[test]
    fn a_cartridge_is_changed_only_when_it_has_to_be() {
        let segments = pending(&[1, 1]);
        assert_eq!(decide(&segments, Some(1), true, false), Next::Wait);
        assert_eq!(decide(&segments, Some(1), true, true), Next::Close);
        assert_eq!(decide(&segments, Some(1), false, false), Next::Close);
        assert_eq!(decide(&segments, None, true, false), Next::Wait);
        assert_eq!(decide(&segments, None, true, true), Next::Open { copy: 2 });
        assert_eq!(decide(&segments, None, false, false), Next::Open { copy: 2 });
        let back = pending(&[0]);
        assert_eq!(decide(&back, Some(2), true, false), Next::Close);
    }

    #[test]
    fn a_session_is_closed_when_its_manifests_are_in_the_way() {
        let decide = |pending: &[Pending], session, blocked, closing_frees| {
            next(Situation { pending, session, exporting: true, blocked, closing_frees })
        };
        assert_eq!(decide(&[], Some(1), true, true), Next::Close);
        assert_eq!(decide(&[], Some(1), false, true), Next::Wait);
        assert_eq!(decide(&[], Some(1), true, false), Next::Wait);
        assert_eq!(decide(&[], None, true, true), Next::Wait);
        let segments = pending(&[0]);
        assert_eq!(decide(&segments, Some(1), true, true), Next::Write(segments[0].segment));
    }

    #[test]
    fn it_ends() {
        assert_eq!(decide(&[], None, false, false), Next::Done);
        assert_eq!(decide(&[], None, true, false), Next::Wait);
        assert_eq!(decide(&[], Some(1), false, false), Next::Close);
        assert_eq!(decide(&[], Some(2), true, true), Next::Wait);
    }

    #[test]
    fn no_segment_is_written_twice_on_one_volume() {
        let mut segments = pending(&[1]);
        segments[0].is_here = true;
        assert_eq!(decide(&segments, Some(2), false, false), Next::Close);
    }
}
