//! What a person sees: a live board on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::gauges::{Gauges, Metrics};
use crate::stage::{DEPARTMENTS, Ports, RECEIVERS, connector, subscriber};

/// How often plain lines say where things are.
const PLAIN_EVERY: Duration = Duration::from_secs(3);

/// How often the board asks the processes.
const ASK_EVERY: Duration = Duration::from_millis(400);

/// Codes that an honest run may bring up, each a note: at a start no beacon, or no fresh cosignature, has come yet; and
/// while a connector that was killed is away, nobody serves the tiles of its log.
pub(crate) const NOTES: &[&str] = &["VER080", "VER075"];

/// Where words go. stdout is this program's data: the story of the run.
#[derive(Clone)]
pub(crate) struct Board {
    bars: Option<MultiProgress>,
    begun: Instant,
}

impl Board {
    pub(crate) fn new() -> Board {
        let bars = std::io::stdout().is_terminal();
        let bars = bars.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stdout()));
        Board { bars, begun: Instant::now() }
    }

    /// A line.
    pub(crate) fn say(&self, line: &str) {
        match &self.bars {
            // Nothing can be done about a terminal that is gone.
            Some(bars) => drop(bars.println(line)),
            None => drop(writeln!(std::io::stdout(), "{line}")),
        }
    }

    /// A heading, with the time since the start.
    pub(crate) fn head(&self, line: &str) {
        self.say(&format!("\n[{:>5.1} s] {line}", self.begun.elapsed().as_secs_f64()));
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// A bar that runs to `length`; without a terminal, nothing.
    pub(crate) fn bar(&self, what: &str, length: u64) -> Bar {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(length));
            let style = ProgressStyle::with_template("  {prefix} [{bar:36}] {pos}/{len} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.set_prefix(what.to_owned());
            bar
        });
        Bar { bar }
    }

    /// A line that changes; without a terminal, nothing.
    fn line(&self) -> Option<ProgressBar> {
        let bars = self.bars.as_ref()?;
        let line = bars.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("  {wide_msg}");
        line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Some(line)
    }

    /// The live view of the departments at work.
    pub(crate) fn live<'a>(&self, ports: &'a Ports) -> Live<'a> {
        let rows = 1 + DEPARTMENTS.len() + RECEIVERS.len();
        let lines = (0..rows).filter_map(|_| self.line()).collect();
        Live { board: self.clone(), ports, lines, asked: None, carried: Vec::new() }
    }
}

/// A progress bar that may not be there.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
}

impl Bar {
    pub(crate) fn step(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
            bar.set_message(what.to_owned());
        }
    }

    pub(crate) fn at(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The board while the departments work.
pub(crate) struct Live<'a> {
    board: Board,
    ports: &'a Ports,
    lines: Vec<ProgressBar>,
    asked: Option<Instant>,
    /// What connectors that were killed had counted.
    carried: Vec<(String, Metrics)>,
}

impl Live<'_> {
    /// Shows where things are now, when it is time again. `headline` says what the departments did.
    pub(crate) fn show(&mut self, gauges: &Gauges, headline: &str) {
        let now = Instant::now();
        let every = if self.lines.is_empty() { PLAIN_EVERY } else { ASK_EVERY };
        if self.asked.is_some_and(|asked| now.duration_since(asked) < every) {
            return;
        }
        self.asked = Some(now);
        let texts = self.texts(gauges, headline);
        for (line, text) in self.lines.iter().zip(&texts) {
            line.set_message(text.clone());
        }
        if self.lines.is_empty() {
            texts.iter().for_each(|text| self.board.say(&format!("  {text}")));
        }
    }

    /// Keeps what a connector has counted, just before it is killed: its successor counts from 0.
    pub(crate) fn carry(&mut self, gauges: &Gauges, department: &str) {
        self.carried.push((department.to_owned(), gauges.metrics(&self.ports.url(&connector(department)))));
    }

    /// Leaves the last state standing as plain lines.
    pub(crate) fn finish(&mut self, gauges: &Gauges, headline: &str) {
        let texts = self.texts(gauges, headline);
        self.lines.drain(..).for_each(|line| line.finish_and_clear());
        texts.iter().for_each(|text| self.board.say(&format!("  {text}")));
    }

    fn texts(&self, gauges: &Gauges, headline: &str) -> Vec<String> {
        let mut texts = vec![headline.to_owned()];
        for department in DEPARTMENTS {
            let url = self.ports.url(&connector(department));
            let metrics = gauges.metrics(&url);
            let carried = self.carried.iter().filter(|(whose, _)| whose == department);
            let before: Vec<&Metrics> = carried.map(|(_, metrics)| metrics).collect();
            let sum = |name: &str| before.iter().fold(metrics.sum(name), |sum, one| sum + one.sum(name));
            let signed = match gauges.checkpoint(&url) {
                Some(c) => format!("checkpoint {} {}.. cosigned by {}", c.size, c.root, words(&c.cosigners)),
                None => "no checkpoint yet".to_owned(),
            };
            texts.push(format!(
                "{department:<15} captured {:>5} rows, sealed {:>4} batches ({:>4} KiB), epoch {}; {signed}",
                sum("govbridge_capture_rows_total"),
                sum("govbridge_seal_batches_total"),
                sum("govbridge_seal_bytes_total") / 1024,
                metrics.sum("govbridge_publish_epoch"),
            ));
        }
        for department in RECEIVERS {
            let metrics = gauges.metrics(&self.ports.url(&subscriber(department)));
            texts.push(format!(
                "-> {department:<12} verified {:>4} batches, opened {:>4} sections, delivered {:>5} rows; {}",
                metrics.sum("govbridge_verify_batches_total"),
                metrics.sum("govbridge_open_sections_total"),
                metrics.sum("govbridge_deliver_rows_total"),
                findings(&metrics),
            ));
        }
        texts
    }
}

/// Notes are told as such: the first beacon that did not come yet is no alarm.
fn findings(metrics: &Metrics) -> String {
    let words = |(code, times): (String, u64)| {
        let note = if NOTES.contains(&code.as_str()) { " (a note)" } else { "" };
        format!("{code} x{times}{note}")
    };
    let found: Vec<String> = metrics.findings().into_iter().map(words).collect();
    if found.is_empty() { "nothing found".to_owned() } else { found.join(", ") }
}

fn words(names: &[String]) -> String {
    if names.is_empty() { "nobody yet".to_owned() } else { names.join(", ") }
}
