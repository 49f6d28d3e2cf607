//! Staging: sealed segments that still stand there are read as if they lay on a tape.

use std::path::Path;

use crate::{
    job::{
        Desk, JobError,
        monitor::Counters,
        restore::{
            plan::{Standing, Stop},
            read::{Assembler, Course, Delivery, Missing, of_leg, read_through},
            spool::Spool,
        },
        tape::BLOCK_MAX,
    },
    pipeline::Fill,
    position::ObjectNumber,
    staging::{OpenSealed, files::Disk},
};

/// Staging that is to be read.
#[derive(Debug)]
pub(in crate::job::restore) struct ReadingStaged<'s, 'p> {
    pub(in crate::job::restore) dir: &'s Path,
    pub(in crate::job::restore) desk: &'s Desk,
    pub(in crate::job::restore) standing: &'p [Standing],
    pub(in crate::job::restore) rank: usize,
    pub(in crate::job::restore) stops: &'p Spool<Stop>,
}

impl<'p> ReadingStaged<'_, 'p> {
    /// Reads what is wanted of it.
    ///
    /// # Errors
    ///
    /// When the destination or a temporary file fail. What cannot be read or does not agree is the
    /// assembler's to remember.
    pub(in crate::job::restore) fn run(
        self,
        assembler: &mut Assembler<'p, '_>,
    ) -> Result<(), JobError> {
        let Self { dir, desk, standing, rank, stops } = self;
        assembler.begin(None, of_leg(stops, rank)?);
        let course = Course::new(of_leg(stops, rank)?);
        let mut reader = Reader { dir, desk, standing, course, open: None };
        read_through(BLOCK_MAX, desk, |room| reader.fill(room), assembler)
    }
}

/// The side of the files.
struct Reader<'a> {
    dir: &'a Path,
    desk: &'a Desk,
    standing: &'a [Standing],
    course: Course<'a>,
    open: Option<(ObjectNumber, OpenSealed)>,
}

impl Reader<'_> {
    fn fill(&mut self, room: &mut [u8]) -> Result<Fill<Delivery>, JobError> {
        let Some((wanted, block_size)) = self.course.wanted()? else { return Ok(Fill::End) };
        let size = usize::try_from(block_size).expect("32 bits fit memory").min(room.len());
        match self.read(wanted, &mut room[..size]) {
            Ok(()) => {
                Counters::add(&self.desk.counters.read_bytes, size as u64);
                self.desk.progress();
                Ok(self.course.good(wanted, size))
            }
            Err(why) => self.course.bad(wanted, Missing::Tape(why)),
        }
    }

    fn read(&mut self, wanted: ObjectNumber, room: &mut [u8]) -> Result<(), String> {
        let behind = self.standing.partition_point(|standing| standing.begin <= wanted);
        let standing = &self.standing[behind.checked_sub(1).expect("the first begins at 0")];
        let (begin, segment) = (standing.begin, standing.segment);
        let opened = match self.open.take() {
            Some((of, opened)) if of == begin => opened,
            Some(_) | None => {
                let opened = OpenSealed::open((self.dir, &Disk), segment);
                let opened = opened.map_err(|error| crate::causes::chain(&error))?;
                opened.ok_or_else(|| "it was freed meanwhile, so it is on tape".to_owned())?
            }
        };
        let offset = (wanted.0 - begin.0) * room.len() as u64;
        let read = opened.read_at(room, offset);
        self.open = Some((begin, opened));
        read.map_err(|error| crate::causes::chain(&error))
    }
}
