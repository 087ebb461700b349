//! The rules that the model breaks one at a time.

use std::fmt::Debug;
use std::hash::Hash;

/// The rules as constants, each `true` in what is shipped.
///
/// Whatever is shipped uses [`Shipped`], which changes none; the model in `tests/` has a type for each broken variant
/// and shows what the rule is for. The switches are constants of a type, so no configuration can reach them.
pub trait Rules: Copy + Debug + Default + Eq + Hash + 'static {
    /// Machine: a fence at or below the fenced epoch is LATE.
    const FENCES_RISE: bool = true;
    /// Machine: a batch or beacon of a lower epoch is LATE.
    const LOWER_EPOCH_IS_LATE: bool = true;
    /// Machine: a batch or beacon of a higher epoch needs its fence first.
    const FENCE_COMES_FIRST: bool = true;
    /// Machine: the next batch has exactly the next sequence, not merely a higher one.
    const SEQUENCE_IS_EXACT: bool = true;
    /// Machine: a batch beyond the next sequence is dropped; only a beacon speaks of loss.
    const AHEAD_IS_DROPPED: bool = true;
    /// Machine: a snapshot's chunks are dense, from 0.
    const CHUNKS_ARE_DENSE: bool = true;
    /// Machine: a snapshot that begins again is the next generation.
    const GENERATIONS_ARE_DENSE: bool = true;
    /// Machine: while a snapshot lacks its last chunk, nothing else brings rows.
    const SNAPSHOT_ENDS_FIRST: bool = true;
    /// Start: the tail is read after the own fence is acknowledged, and up to it.
    const TAIL_AFTER_FENCE: bool = true;
    /// Start: every stream's fence is acknowledged, or the start takes a new epoch.
    const EVERY_FENCE_ACKNOWLEDGED: bool = true;
    /// Start: each start takes a new epoch, also after an ambiguous send.
    const EPOCH_IS_NEW: bool = true;
    /// Start: adopted batches are appended where the log lacks them.
    const ADOPTED_IS_APPENDED: bool = true;
    /// Start: an append needs the newest epoch entry to be the process's own.
    const APPEND_NEEDS_NEWEST_EPOCH: bool = true;
    /// Skip: rows are skipped by (commit, ordinal, fragment), not by their commit alone.
    const SKIP_BY_MARK: bool = true;
    /// Skip: an open transaction gets its last part even when every row was skipped.
    const LAST_PART_IS_OWED: bool = true;
    /// Outgoing: the head's open transaction is taken over.
    const OPEN_IS_TAKEN_OVER: bool = true;
    /// Outgoing: a beacon's head is acknowledged, not merely sent.
    const BEACON_HEAD_IS_ACKNOWLEDGED: bool = true;
    /// Outgoing: a place moves when its batch is appended, not when it is acknowledged.
    const PLACE_AFTER_APPEND: bool = true;
    /// Cuts: a cut waits until its batches are appended, not merely published.
    const APPEND_BEFORE_ACKNOWLEDGE: bool = true;
    /// Cuts: nothing is acknowledged past the least resolved position that Kafka acknowledged.
    const RESOLVED_BOUNDS_ACKNOWLEDGE: bool = true;
    /// Cuts: a keepalive is a cut only while no transaction is open.
    const KEEPALIVE_NEEDS_CLOSED: bool = true;
}

/// The rules as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shipped;

impl Rules for Shipped {}
