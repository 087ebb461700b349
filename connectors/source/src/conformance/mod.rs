//! The suite that every connector passes.
//!
//! An engine gives a [`Bench`]: a fresh database with the suite's two tables, prepared for capture, and ways to claim
//! it, to write to it as an application would, and to read what a table holds. [`conformance!`](crate::conformance!)
//! makes a test of each behaviour:
//!
//! ```ignore
//! connectors_source::conformance!(MyBench::new());
//! ```

mod bench;
mod claims;
mod content;
mod place;
mod recorder;

pub use bench::{Bench, Held, Row, Write, Writer, tables};
pub use claims::*;
pub use content::*;
pub use place::*;
pub use recorder::{Given, Recorder, Snapshot, Taken, read, replay};

/// Makes a test of each behaviour of the suite; `$bench` is an expression that makes a fresh [`Bench`](crate::conformance::Bench).
#[macro_export]
macro_rules! conformance {
    ($bench:expr) => {
        $crate::conformance!(@tests $bench;
            transactions_come_whole_and_in_commit_order
            an_abandoned_transaction_leaves_nothing
            rows_of_two_tables_keep_the_order_they_were_written_in
            a_changed_key_is_a_delete_and_an_insert_that_stay_together
            values_come_as_they_are_stored
            a_large_transaction_comes_in_bounded_polls
            an_idle_source_says_how_far_it_is_complete
            every_restart_gives_the_same_boundaries_and_order
            a_rewind_gives_everything_unacknowledged_again
            a_path_that_stops_gets_the_transaction_from_its_beginning
            what_is_acknowledged_is_not_given_again_and_nothing_else_is_lost
            a_place_inside_a_transaction_keeps_the_transaction
            a_place_that_was_not_delivered_is_refused
            the_newest_commit_is_known_after_a_restart
            a_commit_is_recognised_by_its_token
            a_snapshot_gives_each_row_once_in_key_order
            a_snapshot_and_the_stream_after_it_meet_under_writers
            a_snapshot_of_one_table_leaves_the_stream_of_the_other_whole
            a_snapshot_stops_when_it_is_told_to
            a_second_connector_is_refused_and_told_who_holds_the_source
            a_claim_ends_with_its_holder
            a_connector_that_was_taken_over_is_refused
            the_identity_is_the_same_at_every_claim
        );
    };
    (@tests $bench:expr; $($behaviour:ident)*) => {
        $(
            #[test]
            fn $behaviour() {
                $crate::conformance::$behaviour(&$bench);
            }
        )*
    };
}
