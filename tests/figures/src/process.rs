//! Processes that are measured: what they cost stands in `/proc`, and none outlives the run.

use crate::interrupt;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to start, to stop, or to make the next step.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// CPU seconds, of user and system, since it began.
    pub(crate) cpu_seconds: f64,
    /// Most memory it ever had, in KiB.
    pub(crate) peak_kib: u64,
}

impl Used {
    /// The greater of each: a process that is ending has no memory any more.
    pub(crate) fn max(self, other: Used) -> Used {
        Used {
            cpu_seconds: self.cpu_seconds.max(other.cpu_seconds),
            peak_kib: self.peak_kib.max(other.peak_kib),
        }
    }
}

/// What the process of this number has used.
pub(crate) fn used(pid: u32) -> Option<Used> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets that may hold anything; the third follows the last bracket.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let ticks = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak_kib = peak.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0);
    Some(Used { cpu_seconds: f64::from(user.saturating_add(system)) / f64::from(ticks), peak_kib })
}

/// Time of all processors so far, in ticks: what a hypervisor took for others while something wanted to run, and all.
pub(crate) fn processor_ticks() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_ascii_whitespace().skip(1);
    // The guests' own time, behind the eighth, is part of the user's.
    let ticks: Vec<u64> = fields.take(8).map_while(|ticks| ticks.parse().ok()).collect();
    Some((*ticks.get(7)?, ticks.iter().sum()))
}

/// Which part of the processors' time was taken for others between two looks.
pub(crate) fn stolen((stolen, all): (u64, u64), (stolen_then, all_then): (u64, u64)) -> f64 {
    let part = |ticks: u64| u32::try_from(ticks).map_or(f64::NAN, f64::from);
    part(stolen_then.saturating_sub(stolen)) / part(all_then.saturating_sub(all).max(1))
}

/// A process that ends with this.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    said: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts a command; what it says goes to `<folder>/<name>.err`.
    pub(crate) fn start(name: &str, folder: &Path, command: &mut Command) -> Result<Process> {
        let said = folder.join(format!("{name}.err"));
        let words = File::create(&said)?;
        command.current_dir(folder).stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Process { name: name.to_owned(), said, child: Some(child) })
    }

    fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// What it has used.
    pub(crate) fn used(&self) -> Result<Used> {
        used(self.id()).with_context(|| format!("{} is gone", self.name))
    }

    /// The last that it said.
    fn words(&self) -> String {
        let text = std::fs::read_to_string(&self.said).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// Whether it has ended; with what it said, when it failed.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        let status = match &mut self.child {
            Some(child) => child.try_wait()?,
            None => return Ok(true),
        };
        match status {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.words()),
        }
    }

    /// Looks until something is so, while it runs and makes progress: `look` gives how far it is, `None` for "there".
    pub(crate) fn until(
        &mut self,
        what: &str,
        pause: Duration,
        mut look: impl FnMut() -> Result<Option<u64>>,
    ) -> Result<()> {
        let mut last = (0, Instant::now());
        loop {
            interrupt::check()?;
            let Some(progress) = look()? else { return Ok(()) };
            if self.has_ended()? {
                bail!("{} ended before {what}:\n{}", self.name, self.words());
            }
            if progress != last.0 {
                last = (progress, Instant::now());
            }
            if last.1.elapsed() > PATIENCE {
                bail!("{}: no progress at {progress} while {what}:\n{}", self.name, self.words());
            }
            std::thread::sleep(pause);
        }
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let Some(child) = self.child.as_ref() else { return Ok(()) };
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        let begun = Instant::now();
        while !self.has_ended()? {
            if begun.elapsed() > PATIENCE {
                bail!("{} does not end:\n{}", self.name, self.words());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child = None;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a command to its end and gives its stdout.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    interrupt::check()?;
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} cannot be run"))?;
    if !done.status.success() {
        bail!("{command:?} ended with {}:\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    }
    Ok(String::from_utf8(done.stdout)?)
}

/// The body of an HTTP answer with status 200; none when there is none yet.
pub(crate) fn fetch(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    (head.split(' ').nth(1)? == "200").then(|| body.to_owned())
}

/// A metric of a text that `/metrics` gave, summed over its labels.
pub(crate) fn metric(text: &str, name: &str) -> u64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = if rest.starts_with('{') { rest.rsplit_once("} ")?.1 } else { rest.strip_prefix(' ')? };
        value.split('.').next()?.parse::<u64>().ok()
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory() {
        assert!(used(std::process::id()).is_some_and(|used| used.peak_kib > 100));
    }

    #[test]
    fn time_taken_for_others_is_told_as_a_part_of_all() {
        assert!((stolen((100, 1000), (125, 1100)) - 0.25).abs() < 1e-9);
        assert!(processor_ticks().is_some_and(|(stolen, all)| stolen < all));
    }

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# HELP x y\nrows{stream=\"a\"} 5\nrows{stream=\"b\"} 7\nrows_more 9\nsize 3\n";
        assert_eq!((metric(text, "rows"), metric(text, "size"), metric(text, "none")), (12, 3, 0));
    }
}
