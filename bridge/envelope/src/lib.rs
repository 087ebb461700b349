//! Seal, verify and open one batch; the wire formats.
