//! What was measured, as text and as JSON.

use crate::process::Used;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// What a process used while a line was measured, from its own start on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    process: String,
    cpu_seconds: f64,
    peak_mib: f64,
}

impl Cost {
    #[allow(clippy::cast_precision_loss, reason = "KiB of memory are far below 2^52")]
    pub(crate) fn of(process: &str, used: Used) -> Cost {
        let Used { cpu_seconds, peak_kib } = used;
        Cost { process: process.to_owned(), cpu_seconds, peak_mib: peak_kib as f64 / 1024.0 }
    }
}

/// A drained backlog.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) line: String,
    round: u32,
    rows: u64,
    seconds: f64,
    /// Of a connector's start sequence, before the clock.
    pub(crate) start_seconds: Option<f64>,
    pub(crate) rows_per_second: f64,
    pub(crate) processes: Vec<Cost>,
    /// What the broker's files grew by.
    pub(crate) kafka_bytes: Option<u64>,
    /// How the rows were held against the source.
    pub(crate) compared: Option<&'static str>,
}

#[allow(clippy::cast_precision_loss, reason = "rows and bytes of a run are far below 2^52")]
fn real(number: u64) -> f64 {
    number as f64
}

impl Measured {
    pub(crate) fn new(line: &str, rows: u64, took: Duration) -> Measured {
        let seconds = took.as_secs_f64();
        Measured {
            line: line.to_owned(),
            round: 1,
            rows,
            seconds,
            start_seconds: None,
            rows_per_second: real(rows) / seconds,
            processes: Vec::new(),
            kafka_bytes: None,
            compared: None,
        }
    }

    /// The same in a round.
    pub(crate) fn in_round(self, round: u32) -> Measured {
        Measured { round, ..self }
    }

    fn bytes_per_row(&self) -> Option<f64> {
        self.kafka_bytes.map(|bytes| real(bytes) / real(self.rows))
    }

    fn cost(&self, process: &str) -> Option<&Cost> {
        self.processes.iter().find(|cost| cost.process == process)
    }

    fn cpu_per_million(&self, process: &str) -> Option<f64> {
        self.cost(process).map(|cost| cost.cpu_seconds * 1e6 / real(self.rows))
    }
}

/// How long rows took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) rows: usize,
    pub(crate) sent_per_second: f64,
    /// From before the INSERT is sent to the verified row.
    pub(crate) whole: Percentiles,
    /// Of it, until the server had answered that it is committed.
    pub(crate) commit: Percentiles,
    /// Which part of the processors' time the machine's host took for others meanwhile.
    pub(crate) stolen: f64,
    pub(crate) processes: Vec<Cost>,
}

/// The middle, the hundredth from the top and the longest of some times.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", self.p50_ms, self.p99_ms, self.max_ms)
    }
}

/// A figure of the table to reach.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    what: String,
    measured: f64,
    wanted: String,
    reached: bool,
}

/// A whole run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: u64,
    pub(crate) lines: Vec<Measured>,
    pub(crate) latency: Option<Latency>,
    pub(crate) figures: Vec<Figure>,
    /// The same thing measured twice in each round: the second over the first.
    pub(crate) noise: Vec<f64>,
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

impl Report {
    fn of(&self, line: &str) -> Vec<&Measured> {
        self.lines.iter().filter(|measured| measured.line == line).collect()
    }

    /// The middle over the rounds of what one line reached over another in the same round.
    fn ratio(&self, line: &str, over: &str) -> Option<f64> {
        let pairs = self.of(line).into_iter().filter_map(|one| {
            let other = self.lines.iter().find(|other| other.line == over && other.round == one.round)?;
            Some(one.rows_per_second / other.rows_per_second)
        });
        middle(pairs.collect())
    }

    fn greatest(&self, lines: &[&str], value: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        let values = self.lines.iter().filter(|measured| lines.contains(&measured.line.as_str()));
        values.filter_map(value).max_by(f64::total_cmp)
    }

    /// The line that a round measured twice.
    pub(crate) fn compare_again(&mut self, round: u32) {
        let of = |kind: &str| self.lines.iter().find(|m| m.line == kind && m.round == round);
        if let (Some(first), Some(second)) = (of("kafka"), of("again")) {
            self.noise.push(second.rows_per_second / first.rows_per_second);
        }
    }

    /// Holds what was measured against the table of figures.
    pub(crate) fn judge(&mut self) {
        let mut figures = Vec::new();
        let mut figure = |what: &str, measured: Option<f64>, at_least: bool, wanted: f64, unit: &str| {
            let Some(measured) = measured else { return };
            let reached = if at_least { measured >= wanted } else { measured <= wanted };
            let side = if at_least { "at least" } else { "at most" };
            let wanted = format!("{side} {wanted}{unit}");
            figures.push(Figure { what: what.to_owned(), measured, wanted, reached });
        };
        let peak = |process: &'static str| move |m: &Measured| m.cost(process).map(|cost| cost.peak_mib);
        let cpu = |process: &'static str| move |m: &Measured| m.cpu_per_million(process);
        let (lines, many) = (["lines"], ["kafka", "lines", "tables"]);
        figure("into Kafka over pg_recvlogical", self.ratio("kafka", "pg_recvlogical"), true, 0.8, "");
        figure("with the subscriber beside it", self.ratio("lines", "pg_recvlogical"), true, 0.6, "");
        figure("into Kafka over Debezium", self.ratio("kafka", "debezium"), true, 2.0, "");
        figure(
            "connector, CPU s per million rows",
            self.greatest(&["kafka", "lines"], cpu("connector")),
            false,
            7.0,
            " s",
        );
        figure(
            "subscriber, CPU s per million rows",
            self.greatest(&lines, cpu("subscriber")),
            false,
            7.0,
            " s",
        );
        figure("bytes a row on Kafka", self.greatest(&many, Measured::bytes_per_row), false, 150.0, "");
        figure("connector, peak memory", self.greatest(&many, peak("connector")), false, 192.0, " MiB");
        figure("subscriber, peak memory", self.greatest(&many, peak("subscriber")), false, 192.0, " MiB");
        figure(
            "connector, peak, one transaction",
            self.greatest(&["one"], peak("connector")),
            false,
            192.0,
            " MiB",
        );
        figure(
            "subscriber, peak, one transaction",
            self.greatest(&["one"], peak("subscriber")),
            false,
            192.0,
            " MiB",
        );
        figure("latency p50", self.latency.as_ref().map(|l| l.whole.p50_ms), false, 12.0, " ms");
        figure("latency p99", self.latency.as_ref().map(|l| l.whole.p99_ms), false, 30.0, " ms");
        let tables = self.of("tables").into_iter().map(|m| m.rows_per_second).collect();
        figure("PostgreSQL tables, rows/s", middle(tables), true, 30_000.0, "");
        self.figures = figures;
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "\n{} rows\n\n{:<16}{:>6}{:>10}{:>9}{:>8}{:>8}  {}\n",
            self.rows,
            "line",
            "round",
            "rows/s",
            "seconds",
            "start",
            "B/row",
            "CPU s per million rows, peak memory"
        );
        for measured in &self.lines {
            let bytes = measured.bytes_per_row().map_or("-".to_owned(), |bytes| format!("{bytes:.1}"));
            let costs: Vec<String> = measured
                .processes
                .iter()
                .map(|cost| {
                    let cpu = cost.cpu_seconds * 1e6 / real(measured.rows);
                    format!("{} {cpu:.2} s {:.0} MiB", cost.process, cost.peak_mib)
                })
                .collect();
            let start = measured.start_seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.2}"));
            let Measured { line, round, rows_per_second, seconds, .. } = measured;
            // Writing into a text does not fail.
            let _ = writeln!(
                text,
                "{line:<16}{round:>6}{rows_per_second:>10.0}{seconds:>9.2}{start:>8}{bytes:>8}  {}{}",
                costs.join(", "),
                measured.compared.map(|how| format!("; rows compared: {how}")).unwrap_or_default()
            );
        }
        for (what, over) in
            [("null reader", "pg_recvlogical"), ("kafka", "null reader"), ("debezium", "pg_recvlogical")]
        {
            if let Some(ratio) = self.ratio(what, over) {
                let _ = writeln!(text, "{what} over {over}: {ratio:.2}");
            }
        }
        for noise in &self.noise {
            let _ = writeln!(text, "A/A, kafka measured twice: {noise:.3}");
        }
        if let Some(latency) = &self.latency {
            let Latency { rows, sent_per_second, whole, commit, stolen, .. } = latency;
            let stolen = stolen * 100.0;
            let _ = writeln!(
                text,
                "latency of {rows} rows at {sent_per_second:.0} transactions a second: {whole}; of it the commit at the source: {commit}; the host took {stolen:.1} % of the processors meanwhile"
            );
        }
        text.push('\n');
        for Figure { what, measured, wanted, reached } in &self.figures {
            let verdict = if *reached { "reached" } else { "not reached" };
            let _ = writeln!(text, "{what:<38}{measured:>12.2}  {wanted:<18}{verdict}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends by panicking")]
    use super::*;

    fn measured(line: &str, round: u32, milliseconds: u64) -> Measured {
        let took = Duration::from_millis(milliseconds);
        Measured { round, ..Measured::new(line, 1000, took) }
    }

    #[test]
    fn a_ratio_is_the_middle_over_rounds_of_lines_of_the_same_round() {
        let lines = [(1, 100, 100), (2, 100, 50), (3, 100, 90)];
        let lines = lines.iter().flat_map(|(round, base, kafka)| {
            [measured("pg_recvlogical", *round, *base), measured("kafka", *round, *kafka)]
        });
        let mut report = Report { rows: 1000, lines: lines.collect(), ..Report::default() };
        assert!((report.ratio("kafka", "pg_recvlogical").unwrap() - 100.0 / 90.0).abs() < 1e-9);
        report.judge();
        assert!(
            report
                .text()
                .contains("into Kafka over pg_recvlogical                1.11  at least 0.8      reached"),
            "{}",
            report.text()
        );
    }

    #[test]
    fn a_figure_over_its_limit_is_not_reached() {
        let mut line = measured("kafka", 1, 100);
        line.processes = vec![Cost { process: "connector".to_owned(), cpu_seconds: 0.008, peak_mib: 10.0 }];
        let mut report = Report { rows: 1000, lines: vec![line], ..Report::default() };
        report.judge();
        assert!(report.figures.iter().any(|f| f.what.starts_with("connector, CPU") && !f.reached));
        assert!(report.figures.iter().any(|f| f.what == "connector, peak memory" && f.reached));
    }
}
