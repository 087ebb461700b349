/// What the caller of a failed verb does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The same call may succeed later without anyone's help.
    Retry,
    /// A person has to act first, or the process has to end and start again; going on could lose or repeat data.
    Halt,
    /// This one input is refused; what comes after it may be good.
    Reject,
}
