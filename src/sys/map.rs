//! Memory shared with the kernel or with another process, reached by checked copies alone.

use std::{
    io,
    os::fd::AsFd,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

/// A shared, writable mapping of a file's first bytes.
///
/// The other side writes to it at any time, so no reference into it is ever handed out: bytes are
/// copied, and the counters that both sides agree by are read and written atomically.
#[derive(Debug)]
pub struct Map {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process and not to a thread; `Map` is its one owner.
unsafe impl Send for Map {}

impl Map {
    /// Maps the first `length` bytes of `file`.
    ///
    /// # Errors
    ///
    /// When the kernel does not map it.
    pub fn new(file: &impl AsFd, length: usize) -> io::Result<Self> {
        let protection = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
        let shared = rustix::mm::MapFlags::SHARED;
        // SAFETY: with a null address the kernel chooses a place that nothing else uses.
        let base =
            unsafe { rustix::mm::mmap(ptr::null_mut(), length, protection, shared, file, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, length })
    }

    /// Copies the bytes at `offset` to `to`.
    ///
    /// # Errors
    ///
    /// When they do not all lie inside.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> io::Result<()> {
        let from = self.place(offset, to.len())?;
        // SAFETY: `place` found `to.len()` bytes at `from` inside the mapping, which lives as long
        // as `self`; `to` is memory of our own, so the two do not overlap. A byte that the other
        // side changes meanwhile is read as one or the other, and every value of a byte is valid.
        unsafe { ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Copies `from` to `offset`.
    ///
    /// # Errors
    ///
    /// When it would not all lie inside.
    pub fn write(&self, offset: usize, from: &[u8]) -> io::Result<()> {
        let to = self.place(offset, from.len())?;
        // SAFETY: as in `read`, with the roles exchanged; no reference into the mapping exists.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        Ok(())
    }

    /// Reads a counter, and with it all that the other side wrote before it.
    ///
    /// # Errors
    ///
    /// When it lies outside or is not aligned.
    pub fn load(&self, offset: usize) -> io::Result<u32> {
        self.counter(offset).map(|counter| counter.load(Ordering::Acquire))
    }

    /// Writes a counter, after all that was written before.
    ///
    /// # Errors
    ///
    /// When it lies outside or is not aligned.
    pub fn store(&self, offset: usize, value: u32) -> io::Result<()> {
        self.counter(offset).map(|counter| counter.store(value, Ordering::Release))
    }

    fn counter(&self, offset: usize) -> io::Result<&AtomicU32> {
        let place = self.place(offset, size_of::<u32>())?.cast::<u32>();
        if !place.is_aligned() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: four aligned bytes inside the mapping, which lives as long as the reference; an
        // atomic may be changed by others at any time.
        Ok(unsafe { AtomicU32::from_ptr(place) })
    }

    /// Where `length` bytes at `offset` begin, if they lie inside.
    fn place(&self, offset: usize, length: usize) -> io::Result<*mut u8> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(self.base.as_ptr().wrapping_add(offset)),
            Some(_) | None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `base` and `length` are of one mapping, made in `new` and not yet undone; all
        // borrows of it end with `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "a mapping of our own can be undone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_inside_is_reached() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let map = Map::new(&file, 4096).unwrap();
        map.write(4090, b"abcdef").unwrap();
        let mut read = [0; 6];
        map.read(4090, &mut read).unwrap();
        assert_eq!(&read, b"abcdef");
        map.store(8, 7).unwrap();
        assert_eq!(map.load(8).unwrap(), 7);
        assert!(map.write(4091, b"abcdef").is_err());
        assert!(map.read(usize::MAX, &mut read).is_err());
        assert!(map.load(9).is_err());
        assert!(map.load(4096).is_err());
    }
}
