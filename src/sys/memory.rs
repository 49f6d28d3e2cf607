//! Advice to the kernel about memory of our own.

use std::{ffi::c_void, io};

/// Asks the kernel for large pages behind `memory`, which begins on a page. Only whole large pages
/// within it can be had.
///
/// # Errors
///
/// When the kernel has none to give, or not for a process. The memory is as good without.
pub fn prefer_large_pages(memory: &mut [u8]) -> io::Result<()> {
    let start = memory.as_mut_ptr().cast::<c_void>();
    let advice = rustix::mm::Advice::LinuxHugepage;
    // SAFETY: the range is `memory`, borrowed for us alone; this advice changes which pages stand
    // behind it, and never what is in them.
    unsafe { rustix::mm::madvise(start, memory.len(), advice) }?;
    Ok(())
}
