//! What can be measured; labels come from closed sets (codes, streams and origins of the configuration).

use prometheus::core::Collector;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::RunError;

/// The subscriber's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) fetched: IntCounter,
    pub(crate) fetched_bytes: IntCounter,
    pub(crate) verified: IntCounter,
    pub(crate) findings: IntCounterVec,
    pub(crate) hits: IntCounterVec,
    pub(crate) misses: IntCounterVec,
    pub(crate) sections: IntCounter,
    pub(crate) rows: IntCounter,
    pub(crate) transactions: IntCounter,
    pub(crate) syncs: IntCounter,
    pub(crate) waiting_bytes: IntGauge,
    pub(crate) refetches: IntCounter,
    pub(crate) halted: IntGauge,
    pub(crate) brokers_up: IntGauge,
    pub(crate) sequence: IntGaugeVec,
    pub(crate) proof_age: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn new() -> Result<Metrics, RunError> {
        Metrics::build().map_err(|error| RunError::Process(format!("the metrics could not be made: {error}")))
    }

    fn build() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let counter = |name, help| Metrics::register(&registry, IntCounter::new(name, help)?);
        let gauge = |name, help| Metrics::register(&registry, IntGauge::new(name, help)?);
        let by = |name, help, label| {
            Metrics::register(&registry, IntGaugeVec::new(Opts::new(name, help), &[label])?)
        };
        let counters = |name, help, label| {
            Metrics::register(&registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
        };
        Ok(Metrics {
            fetched: counter("govbridge_fetch_records_total", "Records fetched")?,
            fetched_bytes: counter("govbridge_fetch_bytes_total", "Bytes of the records fetched")?,
            verified: counter(
                "govbridge_verify_batches_total",
                "Batches that verified and follow their chain",
            )?,
            findings: counters(
                "govbridge_verify_findings_total",
                "Findings, by the code of their page",
                "code",
            )?,
            hits: counters(
                "govbridge_verify_cache_hits_total",
                "Times that a verified record, contract, key or checkpoint was at hand",
                "cache",
            )?,
            misses: counters(
                "govbridge_verify_cache_misses_total",
                "Times that one had to be read or verified",
                "cache",
            )?,
            sections: counter("govbridge_open_sections_total", "Sections opened")?,
            rows: counter("govbridge_deliver_rows_total", "Rows delivered")?,
            transactions: counter(
                "govbridge_deliver_transactions_total",
                "Source transactions delivered to their end",
            )?,
            syncs: counter("govbridge_deliver_syncs_total", "Groups of rows synced, each with its progress")?,
            waiting_bytes: gauge(
                "govbridge_deliver_waiting_bytes",
                "Bytes that wait for their level or for other streams",
            )?,
            refetches: counter(
                "govbridge_fetch_refetches_total",
                "Times that a stream was read again for lack of memory",
            )?,
            brokers_up: gauge("govbridge_fetch_brokers_up", "Brokers that the reader is connected to")?,
            halted: gauge("govbridge_deliver_halted", "1 when a finding has ended the delivery")?,
            sequence: by(
                "govbridge_deliver_sequence",
                "Sequence of the last batch released for delivery",
                "stream",
            )?,
            proof_age: by(
                "govbridge_verify_proof_age_seconds",
                "Age of the newest beacon's proof, by this machine's clock",
                "stream",
            )?,
            registry,
        })
    }

    fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
        registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self) -> String {
        let mut out = Vec::new();
        // Encoding into memory fails only for metrics that cannot be registered.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_by_code() {
        let metrics = Metrics::new().unwrap();
        metrics.findings.with_label_values(&["CHA002"]).inc();
        assert!(metrics.text().contains("govbridge_verify_findings_total{code=\"CHA002\"} 1"));
    }
}
