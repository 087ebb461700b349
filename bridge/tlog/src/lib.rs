//! The transparency log's formats: leaf, tile, proof, note, checkpoint, cosignature, policy (C2SP).
