//! What a department promises: contracts, sections, grants; rows to Avro bytes and back.
