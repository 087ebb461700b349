//! What can be measured; labels come from closed sets (codes, streams and origins of the configuration).

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
    pub(crate) sections: IntCounter,
    pub(crate) rows: IntCounter,
    pub(crate) transactions: IntCounter,
    pub(crate) syncs: IntCounter,
    pub(crate) waiting_bytes: IntGauge,
    pub(crate) refetches: IntCounter,
    pub(crate) halted: IntGauge,
    pub(crate) sequence: IntGaugeVec,
    pub(crate) proof_age: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn new() -> Result<Metrics, RunError> {
        Metrics::build().map_err(|error| RunError::Process(format!("the metrics could not be made: {error}")))
    }

    fn build() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let by = |name: &str, help: &str, label: &str| -> prometheus::Result<IntGaugeVec> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let findings = IntCounterVec::new(
            Opts::new("govbridge_verify_findings_total", "Findings, by the code of their page"),
            &["code"],
        )?;
        registry.register(Box::new(findings.clone()))?;
        Ok(Metrics {
            fetched: counter("govbridge_fetch_records_total", "Records fetched")?,
            fetched_bytes: counter("govbridge_fetch_bytes_total", "Bytes of the records fetched")?,
            verified: counter(
                "govbridge_verify_batches_total",
                "Batches that verified and follow their chain",
            )?,
            findings,
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
