//! Points at which a test may end the process.

/// A point in the flow of one record or one group of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// A record was fetched, and nothing was done with it.
    AfterFetch,
    /// A batch was verified and follows its chain.
    AfterVerify,
    /// A batch's rows were opened.
    AfterOpen,
    /// Rows were written to the sink, not synced.
    BeforeFsync,
    /// Rows were synced.
    AfterFsync,
    /// The progress is about to be written.
    BeforeProgress,
    /// The progress was written.
    AfterProgress,
}

impl Point {
    /// All points, in the order of the flow.
    pub const ALL: [Point; 7] = [
        Point::AfterFetch,
        Point::AfterVerify,
        Point::AfterOpen,
        Point::BeforeFsync,
        Point::AfterFsync,
        Point::BeforeProgress,
        Point::AfterProgress,
    ];
}

/// The flow was told to end at a probe, as if the process had been killed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the flow was interrupted by its probe at {0:?}")]
pub struct Interrupted(pub Point);

/// Who watches the points. A fault test kills the process here, or returns [`Interrupted`]: the flow then touches
/// nothing more.
pub trait Probe: Send + Sync {
    /// The flow is at this point.
    ///
    /// # Errors
    /// [`Interrupted`] to end it right here.
    fn reach(&self, point: Point) -> Result<(), Interrupted>;
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Probe for Unwatched {
    fn reach(&self, _: Point) -> Result<(), Interrupted> {
        Ok(())
    }
}
