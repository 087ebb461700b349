//! What the processes say of themselves over HTTP: metrics, health, the log's checkpoint.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Asks processes on this machine.
pub(crate) struct Gauges(ureq::Agent);

impl Gauges {
    pub(crate) fn new() -> Gauges {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(2)))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Gauges(config.into())
    }

    /// The body of a good answer.
    fn read(&self, url: &str, path: &str) -> anyhow::Result<String> {
        let mut answer =
            self.0.get(format!("{url}{path}")).call().with_context(|| format!("{url} does not answer"))?;
        anyhow::ensure!(answer.status().as_u16() == 200, "{url}{path} answers {}", answer.status());
        Ok(answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?)
    }

    /// Whether somebody answers there at all, whatever it is.
    pub(crate) fn is_up(&self, url: &str) -> bool {
        self.0.get(format!("{url}/health")).call().is_ok()
    }

    /// A process's metrics; none when it does not answer now.
    pub(crate) fn metrics(&self, url: &str) -> Metrics {
        Metrics(self.read(url, "/metrics").unwrap_or_default())
    }

    /// A log's newest checkpoint; none when it does not answer or has none yet.
    pub(crate) fn checkpoint(&self, url: &str) -> Option<Checkpoint> {
        Checkpoint::read(&self.read(url, "/checkpoint").ok()?)
    }
}

/// Metrics in Prometheus' text format.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(String);

impl Metrics {
    /// What the receivers found, by code.
    pub(crate) fn findings(&self) -> BTreeMap<String, u64> {
        let lines =
            self.0.lines().filter_map(|line| line.strip_prefix("govbridge_verify_findings_total{code=\""));
        let counts = lines.filter_map(|rest| rest.split_once("\"} "));
        counts.filter_map(|(code, times)| Some((code.to_owned(), times.trim().parse().ok()?))).collect()
    }

    /// The sum over all labels of one metric; 0 when it is not there.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(name));
        let values = lines.filter_map(|rest| {
            let rest = match rest.strip_prefix('{') {
                Some(labelled) => labelled.rsplit_once('}')?.1,
                None => rest,
            };
            rest.strip_prefix(' ')?.split(['.', ' ']).next()?.parse::<u64>().ok()
        });
        values.sum()
    }
}

/// What a person wants to know of a checkpoint. Nothing of it is verified here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) size: u64,
    /// The root's first characters.
    pub(crate) root: String,
    /// Whose witnesses signed it, besides the log itself.
    pub(crate) cosigners: Vec<String>,
}

impl Checkpoint {
    fn read(note: &str) -> Option<Checkpoint> {
        let (text, lines) = note.split_once("\n\n")?;
        let mut words = text.lines();
        let origin = words.next()?;
        let size = words.next()?.parse().ok()?;
        let root = words.next()?.chars().take(8).collect();
        let names = lines.lines().filter_map(|line| line.strip_prefix("\u{2014} ")?.split(' ').next());
        let cosigners = names.filter(|name| *name != origin).map(department).collect();
        Some(Checkpoint { size, root, cosigners })
    }
}

/// `gov.example/audit/witness` is `audit`'s.
fn department(name: &str) -> String {
    name.split('/').nth(1).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other() {
        let metrics = Metrics(
            "# HELP a_total x\n# TYPE a_total counter\na_total{stream=\"x y}\"} 3\na_total{stream=\"z\"} 4\na_total_b 9\nb 5\nc 6.0\n"
                .to_owned(),
        );
        assert_eq!(
            (metrics.sum("a_total"), metrics.sum("b"), metrics.sum("c"), metrics.sum("d")),
            (7, 5, 6, 0)
        );
    }

    #[test]
    fn findings_are_listed_by_code() {
        let metrics = Metrics(
            "govbridge_verify_findings_total{code=\"VER080\"} 6\nother{code=\"VER001\"} 1\n".to_owned(),
        );
        assert_eq!(metrics.findings().into_iter().collect::<Vec<_>>(), [("VER080".to_owned(), 6)]);
    }

    #[test]
    fn a_checkpoint_says_its_size_and_who_cosigned_it() {
        let note = "gov.example/tax/main\n42\nAAAAAAAAAAAAAAAA\n\n\u{2014} gov.example/tax/main x\n\u{2014} gov.example/audit/witness y\n";
        let checkpoint = Checkpoint::read(note).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root.as_str()), (42, "AAAAAAAA"));
        assert_eq!(checkpoint.cosigners, ["audit"]);
        assert!(Checkpoint::read("nothing").is_none());
    }
}
