//! The sending flow: capture, encode, seal, publish, append, acknowledge.
