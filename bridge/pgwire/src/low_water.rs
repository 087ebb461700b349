#![allow(
    unsafe_code,
    reason = "one socket option that no safe crate here offers; docs/decisions/0008-low-water-mark.md"
)]
//! `SO_RCVLOWAT`: the kernel wakes a reader only when so many bytes wait.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets how many bytes must wait before a poll says that a socket can be read. A kernel that refuses changes nothing:
/// the reader is woken more often.
pub(crate) fn set(socket: BorrowedFd<'_>, bytes: i32) {
    let length = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(4);
    // SAFETY: the descriptor is open as long as it is borrowed, and the option reads `length` bytes at the address of a
    // value of that size that lives for the call.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            std::ptr::from_ref(&bytes).cast(),
            length,
        )
    };
}
