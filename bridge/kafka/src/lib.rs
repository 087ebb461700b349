//! Publish and fetch: the one crate that names rdkafka.
