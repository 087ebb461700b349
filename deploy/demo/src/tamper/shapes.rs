//! The published records' fields in their order (docs/spec: sealed-batch, beacon, key-record).

use super::avro::Shape::{Array, Boolean, Bytes, Fixed, Long, Record, Union};
use super::avro::{Field, NULL, Shape};

const DIGEST: Shape = Fixed(32);
const POSITION: &[Field] = &[("commit", Long), ("ordinal", Long), ("fragment", Long), ("token", Bytes)];
const MARK: &[Field] = &[("commit", Long), ("ordinal", Long), ("fragment", Long)];
const AT: &[Field] = &[("commit", Long), ("ordinal", Long)];
const BATCH: &[Field] = &[("sequence", Long), ("digest", DIGEST)];

const SNAPSHOT: &[Field] =
    &[("generation", Long), ("as_of", Record(POSITION)), ("chunk", Long), ("last", Boolean)];
const FRAGMENT: &[Field] = &[("index", Long), ("of", Long), ("total_bytes", Long)];
const GAP: &[Field] = &[
    ("reason", Bytes),
    ("from", Record(POSITION)),
    ("to", Union(&[NULL, Record(POSITION)])),
    ("lost", Array(&Record(BATCH))),
    ("lost_previous", DIGEST),
    ("before", DIGEST),
    ("after", DIGEST),
    ("voids", Array(&Long)),
];
const VANISHED: &[Field] =
    &[("sequence", Long), ("digest", DIGEST), ("first_leaf", Long), ("last_leaf", Long)];
const RETRACT: &[Field] = &[
    ("reason", Bytes),
    ("vanished", Array(&Record(VANISHED))),
    ("before", DIGEST),
    ("after", DIGEST),
    ("voids", Array(&Long)),
];
const EXTENSION: &[Field] = &[("id", Long), ("critical", Boolean), ("content", Bytes)];

/// A batch's header.
pub(super) const HEADER: &[Field] = &[
    ("suite", Long),
    ("department", Bytes),
    ("dataset", Bytes),
    ("origin", Bytes),
    ("partition", Long),
    ("epoch", Long),
    ("sequence", Long),
    ("previous", DIGEST),
    ("kind", Long),
    ("contract", DIGEST),
    ("nonce", Fixed(32)),
    ("incarnation", Long),
    ("first", Record(POSITION)),
    ("last", Record(POSITION)),
    ("continues", Boolean),
    ("leaves_open", Boolean),
    ("closed_by", Long),
    ("resolved", Record(AT)),
    ("transactions_begun", Long),
    ("transactions_ended", Long),
    ("first_commit_time", Long),
    ("last_commit_time", Long),
    ("row_events", Long),
    ("truncates", Long),
    ("snapshot", Union(&[NULL, Record(SNAPSHOT)])),
    ("fragment", Union(&[NULL, Record(FRAGMENT)])),
    ("notice", Union(&[NULL, Record(GAP), Record(RETRACT)])),
    ("sections", Array(&DIGEST)),
    ("extensions", Array(&Record(EXTENSION))),
];

const HEAD: &[Field] = &[("sequence", Long), ("digest", DIGEST), ("last", Record(POSITION))];
const SNAPSHOT_PLACE: &[Field] = &[("generation", Long), ("chunk", Long), ("last", Boolean)];
const PLACE: &[Field] = &[
    ("offset", Long),
    ("epoch", Long),
    ("head", Union(&[NULL, Record(BATCH)])),
    ("incarnation", Long),
    ("last", Record(MARK)),
    ("open", Union(&[NULL, Long])),
    ("snapshot", Union(&[NULL, Record(SNAPSHOT_PLACE)])),
];
const APPENDED: &[Field] =
    &[("entry", Bytes), ("index", Long), ("path", Array(&DIGEST)), ("checkpoint", Bytes)];

/// A beacon.
pub(super) const BEACON: &[Field] = &[
    ("origin", Bytes),
    ("department", Bytes),
    ("dataset", Bytes),
    ("partition", Long),
    ("epoch", Long),
    ("incarnation", Long),
    ("head", Union(&[NULL, Record(HEAD)])),
    ("place", Record(PLACE)),
    ("resolved", Record(AT)),
    ("appended", Union(&[NULL, Record(APPENDED)])),
    ("clock", Long),
    ("next_due", Long),
];

const WRAP: &[Field] =
    &[("recipient", Bytes), ("key", DIGEST), ("encapsulated", Fixed(32)), ("ciphertext", Fixed(48))];

/// A key record.
pub(super) const KEY_RECORD: &[Field] = &[
    ("suite", Long),
    ("department", Bytes),
    ("dataset", Bytes),
    ("section", Bytes),
    ("contract", DIGEST),
    ("commitment", DIGEST),
    ("valid_from", Long),
    ("not_after", Long),
    ("wraps", Array(&Record(WRAP))),
];

/// A section block of a batch.
pub(super) const SECTION_BLOCK: &[Field] = &[
    ("name", Bytes),
    ("schema", DIGEST),
    ("rows", Long),
    ("row_root", DIGEST),
    ("groups", Array(&Bytes)),
    ("compression", Long),
    ("ciphertext_bytes", Long),
    ("ciphertext", DIGEST),
    ("key_record", DIGEST),
    ("commitment", DIGEST),
];
