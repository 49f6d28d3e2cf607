//! What the tape half does next: pure decisions.

use crate::ident::SegmentId;

/// A drive that stands starts for so many sealed segments, or for the last ones: a slow source gives
/// few long runs then, and not one for each segment.
const START: usize = 2;

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
    /// Whether the drive was writing until now.
    pub(super) running: bool,
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
    Write {
        /// Which.
        segment: SegmentId,
        /// What comes after it, as things stand, so that it can be read ahead.
        then: Option<SegmentId>,
    },
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
    let mut here = now.pending.iter().filter(fitting).map(|pending| pending.segment);
    let (segment, then) = (here.next(), here.next());
    if let Some(segment) = segment
        && (now.running || then.is_some() || copy > 1 || !now.exporting || now.blocked)
    {
        return Next::Write { segment, then };
    }
    if segment.is_some() {
        return Next::Wait;
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
    if now.exporting && !now.blocked {
        let fresh = now.pending.iter().filter(|pending| pending.copies == 0).count();
        if fresh < START {
            return Next::Wait;
        }
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
        let (running, closing_frees) = (false, false);
        next(Situation { pending, session, running, exporting, blocked, closing_frees })
    }

    fn write(segment: &Pending, then: Option<&Pending>) -> Next {
        Next::Write { segment: segment.segment, then: then.map(|then| then.segment) }
    }

    #[test]
    fn first_copies_come_first() {
        let segments = pending(&[1, 0, 0]);
        assert_eq!(decide(&segments, None, true, false), Next::Open { copy: 1 });
        let then = Some(&segments[2]);
        assert_eq!(decide(&segments, Some(1), true, false), write(&segments[1], then));
        assert_eq!(decide(&segments, Some(2), true, false), write(&segments[0], None));
    }

    #[test]
    fn a_drive_that_stands_starts_for_two_segments_or_the_last() {
        let one = pending(&[0]);
        for session in [None, Some(1)] {
            assert_eq!(decide(&one, session, true, false), Next::Wait);
        }
        // Nothing more comes, or nothing more can come before this one is gone.
        for (exporting, blocked) in [(false, false), (true, true)] {
            assert_eq!(decide(&one, None, exporting, blocked), Next::Open { copy: 1 });
            assert_eq!(decide(&one, Some(1), exporting, blocked), write(&one[0], None));
        }
        let moving = Situation {
            pending: &one,
            session: Some(1),
            running: true,
            exporting: true,
            blocked: false,
            closing_frees: false,
        };
        assert_eq!(next(moving), write(&one[0], None), "one that runs goes on");
        let two = pending(&[0, 0]);
        assert_eq!(decide(&two, None, true, false), Next::Open { copy: 1 });
        assert_eq!(decide(&two, Some(1), true, false), write(&two[0], Some(&two[1])));
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
            let (running, exporting) = (false, true);
            next(Situation { pending, session, running, exporting, blocked, closing_frees })
        };
        assert_eq!(decide(&[], Some(1), true, true), Next::Close);
        assert_eq!(decide(&[], Some(1), false, true), Next::Wait);
        assert_eq!(decide(&[], Some(1), true, false), Next::Wait);
        assert_eq!(decide(&[], None, true, true), Next::Wait);
        let segments = pending(&[0]);
        assert_eq!(decide(&segments, Some(1), true, true), write(&segments[0], None));
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
