//! The trait that a connector fulfils, and the suite that every connector passes.
