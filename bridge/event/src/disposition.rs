//! What follows from an error, the same three words in every room.

/// What the caller of a failed verb does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The same call, or a new start, may succeed later without anyone's help.
    Retry,
    /// A person has to act first; going on could lose or repeat data.
    Halt,
    /// This one input is refused; what comes after it may be good.
    Reject,
}
