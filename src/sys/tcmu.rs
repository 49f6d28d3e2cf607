//! The user's end of TCM-user: SCSI commands of this machine's own kernel, to be answered here
//! (`linux/target_core_user.h`, mailbox version 2).

use crate::sys::map::Map;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

/// Places in the mailbox.
const VERSION: usize = 0;
const FLAGS: usize = 2;
const RING_OFFSET: usize = 4;
const RING_SIZE: usize = 8;
const HEAD: usize = 12;
const TAIL: usize = 64;

const MAILBOX_VERSION: u16 = 2;
const CAN_SAY_READ_LENGTH: u16 = 1 << 1;

/// Places in an entry of the ring.
const USER_FLAGS: usize = 7;
const SPAN_COUNT: usize = 8;
const CDB_OFFSET: usize = 24;
const SPANS: usize = 48;
const SPAN_LEN: usize = 16;
const RESPONSE: usize = 8;
const ENTRY_LEN: u32 = 112;
const HEADER_LEN: u32 = 8;

const OP_MASK: u32 = 7;
const OP_PAD: u32 = 0;
const OP_COMMAND: u32 = 1;
const FLAG_UNKNOWN_OP: u8 = 1;
const FLAG_READ_LENGTH: u8 = 2;

/// Bytes of sense data that a reply carries.
const SENSE_LEN: usize = 96;
/// Pieces of one command's data; the kernel maps each page at worst by itself.
const SPANS_MAX: u32 = 65_536;

/// A device of TCM-user that the kernel hands its commands to.
#[derive(Debug)]
pub struct Ring {
    doorbell: File,
    map: Map,
    start: usize,
    size: u32,
    tail: u32,
}

/// A command that waits for its reply. Its data lie in the shared memory.
#[derive(Debug)]
pub struct Request {
    entry: usize,
    length: u32,
    cdb: Vec<u8>,
    /// Offset and length of each piece of the data area.
    spans: Vec<(usize, usize)>,
}

/// The reply to a command.
#[derive(Debug)]
pub struct Reply<'a> {
    /// SCSI status byte.
    pub status: u8,
    /// Sense data, at most 96 bytes.
    pub sense: &'a [u8],
    /// Data for the host. Empty for commands that send none, and for those of the other direction.
    pub data: &'a [u8],
}

impl Request {
    /// The command's bytes, 6 to 16 or as long as a variable-length one says.
    pub fn cdb(&self) -> &[u8] {
        &self.cdb
    }

    /// Bytes of the data phase, in whichever direction it goes.
    pub fn data_len(&self) -> usize {
        self.spans.iter().map(|(_, length)| length).sum()
    }
}

impl Ring {
    /// Opens the device behind a uio node such as `/dev/uio0`.
    ///
    /// # Errors
    ///
    /// When it is not a device of TCM-user, or somebody else answers for it (`EBUSY`).
    pub fn open(node: &Path) -> io::Result<Self> {
        let doorbell = OpenOptions::new().read(true).write(true).open(node)?;
        let name = node.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let size = Path::new("/sys/class/uio").join(name).join("maps/map0/size");
        let text = fs::read_to_string(size)?;
        let digits = text.trim().trim_start_matches("0x");
        let length = usize::from_str_radix(digits, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let map = Map::new(&doorbell, length)?;
        Self::over(doorbell, map)
    }

    fn over(doorbell: File, map: Map) -> io::Result<Self> {
        let version = read_u16(&map, VERSION)?;
        let flags = read_u16(&map, FLAGS)?;
        let start = usize::try_from(map.load(RING_OFFSET)?).map_err(|_| bad("ring"))?;
        let size = map.load(RING_SIZE)?;
        if version != MAILBOX_VERSION || flags & CAN_SAY_READ_LENGTH == 0 || size == 0 {
            return Err(bad("mailbox"));
        }
        let tail = map.load(TAIL)?;
        Ok(Self { doorbell, map, start, size, tail })
    }

    /// Waits for the next command.
    ///
    /// # Errors
    ///
    /// When the device was removed.
    pub fn wait(&mut self) -> io::Result<Request> {
        loop {
            if let Some(request) = self.next()? {
                return Ok(request);
            }
            let mut count = [0; 4];
            self.doorbell.read_exact(&mut count)?;
        }
    }

    /// The next command, if there is one.
    fn next(&mut self) -> io::Result<Option<Request>> {
        while self.map.load(HEAD)? != self.tail {
            let at = self.start + usize::try_from(self.tail).map_err(|_| bad("tail"))?;
            let header = read_u32(&self.map, at)?;
            let length = header & !OP_MASK;
            if length < HEADER_LEN || length > self.size - self.tail {
                return Err(bad("entry's length"));
            }
            match header & OP_MASK {
                OP_COMMAND if length >= ENTRY_LEN => return self.command(at, length).map(Some),
                OP_COMMAND => return Err(bad("command")),
                OP_PAD => self.advance(length)?,
                _ => {
                    self.map.write(at + USER_FLAGS, &[FLAG_UNKNOWN_OP])?;
                    self.advance(length)?;
                    self.ring()?;
                }
            }
        }
        Ok(None)
    }

    fn command(&self, entry: usize, length: u32) -> io::Result<Request> {
        let count = read_u32(&self.map, entry + SPAN_COUNT)?;
        if count > SPANS_MAX {
            return Err(bad("number of pieces"));
        }
        let mut spans = Vec::new();
        for index in 0..usize::try_from(count).map_err(|_| bad("number of pieces"))? {
            let at = entry + SPANS + index * SPAN_LEN;
            spans.push((read_usize(&self.map, at)?, read_usize(&self.map, at + 8)?));
        }
        let cdb_at = read_usize(&self.map, entry + CDB_OFFSET)?;
        let mut front = [0; 8];
        self.map.read(cdb_at, &mut front[..6])?;
        let cdb_len = match front[0] >> 5 {
            0 => 6,
            1 | 2 => 10,
            3 => {
                self.map.read(cdb_at, &mut front)?;
                8 + usize::from(front[7])
            }
            4 => 16,
            5 => 12,
            _ => 10,
        };
        let mut cdb = vec![0; cdb_len];
        self.map.read(cdb_at, &mut cdb)?;
        Ok(Request { entry, length, cdb, spans })
    }

    /// Fills the front of `buffer` with the data that the host sends with a command, and says how
    /// many bytes they are.
    ///
    /// # Errors
    ///
    /// When `buffer` is too small, or the ring is broken.
    pub fn fetch(&self, request: &Request, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        for &(offset, length) in &request.spans {
            let piece = buffer.get_mut(done..).and_then(|rest| rest.get_mut(..length));
            self.map.read(offset, piece.ok_or(io::ErrorKind::InvalidInput)?)?;
            done += length;
        }
        Ok(done)
    }

    /// Answers a command.
    ///
    /// # Errors
    ///
    /// When the data do not fit what the host asked for, or the ring is broken.
    pub fn reply(&mut self, request: &Request, reply: &Reply<'_>) -> io::Result<()> {
        let mut rest = reply.data;
        for &(offset, length) in &request.spans {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            self.map.write(offset, piece)?;
            rest = after;
        }
        if !rest.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut response = [0; 8 + SENSE_LEN];
        response[0] = reply.status;
        let read = u32::try_from(reply.data.len()).map_err(|_| bad("reply"))?;
        response[4..8].copy_from_slice(&read.to_ne_bytes());
        let sense = &reply.sense[..reply.sense.len().min(SENSE_LEN)];
        response[8..8 + sense.len()].copy_from_slice(sense);
        self.map.write(request.entry + RESPONSE, &response)?;
        // A length of zero with the flag set is taken as no length at all.
        let flags = if read == 0 { 0 } else { FLAG_READ_LENGTH };
        self.map.write(request.entry + USER_FLAGS, &[flags])?;
        self.advance(request.length)?;
        self.ring()
    }

    fn advance(&mut self, length: u32) -> io::Result<()> {
        self.tail = (self.tail + length) % self.size;
        self.map.store(TAIL, self.tail)
    }

    fn ring(&mut self) -> io::Result<()> {
        self.doorbell.write_all(&[0; 4])
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("TCM-user: bad {what}"))
}

fn read_u16(map: &Map, offset: usize) -> io::Result<u16> {
    let mut bytes = [0; 2];
    map.read(offset, &mut bytes)?;
    Ok(u16::from_ne_bytes(bytes))
}

fn read_u32(map: &Map, offset: usize) -> io::Result<u32> {
    let mut bytes = [0; 4];
    map.read(offset, &mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

fn read_usize(map: &Map, offset: usize) -> io::Result<usize> {
    let mut bytes = [0; 8];
    map.read(offset, &mut bytes)?;
    usize::try_from(u64::from_ne_bytes(bytes)).map_err(|_| bad("offset"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING_AT: u32 = 128;
    const RING_LEN: u32 = 1024;
    const DATA_AT: usize = 2048;

    /// A mailbox in a file, as the kernel lays it out.
    fn mailbox() -> (Ring, Map) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let kernel = Map::new(&file, 4096).unwrap();
        kernel.write(VERSION, &MAILBOX_VERSION.to_ne_bytes()).unwrap();
        kernel.write(FLAGS, &CAN_SAY_READ_LENGTH.to_ne_bytes()).unwrap();
        kernel.store(RING_OFFSET, RING_AT).unwrap();
        kernel.store(RING_SIZE, RING_LEN).unwrap();
        let doorbell = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
        (Ring::over(doorbell, Map::new(&file, 4096).unwrap()).unwrap(), kernel)
    }

    /// Queues a command with two pieces of data at `head`, 160 bytes long.
    fn queue(kernel: &Map, head: u32, cdb: &[u8]) {
        let entry = usize::try_from(RING_AT + head).unwrap();
        kernel.write(entry, &(160_u32 | OP_COMMAND).to_ne_bytes()).unwrap();
        kernel.write(entry + SPAN_COUNT, &2_u32.to_ne_bytes()).unwrap();
        let cdb_at = entry + SPANS + 2 * SPAN_LEN;
        kernel.write(entry + CDB_OFFSET, &(cdb_at as u64).to_ne_bytes()).unwrap();
        for (index, (offset, length)) in [(DATA_AT, 3), (DATA_AT + 64, 5)].into_iter().enumerate() {
            let at = entry + SPANS + index * SPAN_LEN;
            kernel.write(at, &(offset as u64).to_ne_bytes()).unwrap();
            kernel.write(at + 8, &u64::to_ne_bytes(length)).unwrap();
        }
        kernel.write(cdb_at, cdb).unwrap();
        kernel.store(HEAD, (head + 160) % RING_LEN).unwrap();
    }

    #[test]
    fn a_command_is_taken_and_answered() {
        let (mut ring, kernel) = mailbox();
        assert!(ring.next().unwrap().is_none());
        queue(&kernel, 0, &[0x0a, 0, 0, 0, 8, 0]);
        kernel.write(DATA_AT, b"abc").unwrap();
        kernel.write(DATA_AT + 64, b"defgh").unwrap();
        let request = ring.wait().unwrap();
        assert_eq!(request.cdb(), [0x0a, 0, 0, 0, 8, 0]);
        let mut data = [0; 8];
        assert_eq!(ring.fetch(&request, &mut data).unwrap(), 8);
        assert_eq!(&data, b"abcdefgh");
        ring.reply(&request, &Reply { status: 2, sense: &[0x70, 0, 3], data: b"" }).unwrap();
        let mut response = [0; 12];
        kernel.read(128 + RESPONSE, &mut response).unwrap();
        assert_eq!(response, [2, 0, 0, 0, 0, 0, 0, 0, 0x70, 0, 3, 0]);
        assert_eq!(kernel.load(TAIL).unwrap(), 160);
    }

    #[test]
    fn a_short_read_says_its_length_and_padding_is_passed() {
        let (mut ring, kernel) = mailbox();
        kernel.write(128, &(800_u32 | OP_PAD).to_ne_bytes()).unwrap();
        queue(&kernel, 800, &[0x12, 0, 0, 0, 8, 0]);
        let request = ring.wait().unwrap();
        assert_eq!(request.data_len(), 8);
        ring.reply(&request, &Reply { status: 0, sense: &[], data: b"wxyz" }).unwrap();
        let mut data = [0; 3];
        kernel.read(DATA_AT, &mut data).unwrap();
        assert_eq!(&data, b"wxy");
        kernel.read(DATA_AT + 64, &mut data).unwrap();
        assert_eq!(&data, b"z\0\0");
        let mut response = [0; 8];
        kernel.read(128 + 800 + RESPONSE, &mut response).unwrap();
        assert_eq!(response, [0, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(kernel.load(TAIL).unwrap(), 960);
    }

    #[test]
    fn a_broken_ring_is_an_error() {
        let (mut ring, kernel) = mailbox();
        kernel.write(128, &(2000_u32 | OP_COMMAND).to_ne_bytes()).unwrap();
        kernel.store(HEAD, 160).unwrap();
        assert_eq!(ring.next().unwrap_err().kind(), io::ErrorKind::InvalidData);
        queue(&kernel, 0, &[0; 6]);
        kernel.write(128 + SPANS, &u64::MAX.to_ne_bytes()).unwrap();
        let request = ring.next().unwrap().unwrap();
        assert!(ring.fetch(&request, &mut [0; 8]).is_err());
    }
}
