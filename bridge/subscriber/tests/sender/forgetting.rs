//! A sender that loses its own entries.

use super::*;

impl Sender {
    /// Back to an earlier newest entry of a stream: what was sealed since was never appended.
    pub fn forget_entry(&mut self, stream: usize, newest: Option<(LogIndex, Vec<u8>)>) {
        self.streams[stream].previous_index = newest.as_ref().map(|(index, _)| *index);
        self.streams[stream].newest_entry = newest;
    }
}
