//! Shared parts of the benchmarks: the row of the baselines, a contract of two sections.
