//! The algorithms behind one door: international and national.
