//! The real processes: the binary `govbridge`, started as a person would, its words kept in files.
//!
//! Whatever ends the demo, no child outlives it: a process that is dropped is killed and reaped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use std::os::unix::process::CommandExt as _;

use crate::interruption::Interruption;

/// How often a waiting loop looks again.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// How long a process may take to end after SIGTERM: it drains within 5 seconds.
const DRAIN: Duration = Duration::from_secs(15);

/// The binary that every department runs.
#[derive(Clone, Debug)]
pub(crate) struct Binary(PathBuf);

impl Binary {
    /// `govbridge` beside the demo's own executable.
    ///
    /// # Errors
    /// When it was not built.
    pub(crate) fn beside_this() -> anyhow::Result<Binary> {
        let own = std::env::current_exe().context("this program does not know where it lies")?;
        let binary = own.with_file_name("govbridge");
        ensure!(binary.is_file(), "{} is not there; `make build` makes it", binary.display());
        Ok(Binary(binary))
    }

    #[cfg(test)]
    pub(crate) fn at(path: &str) -> Binary {
        Binary(PathBuf::from(path))
    }

    /// The binary's path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Runs a command to its end; what it printed.
    ///
    /// # Errors
    /// When it ends with another code than 0, with its own words.
    pub(crate) fn run(&self, folder: &Path, words: &[&str]) -> anyhow::Result<String> {
        let output = self.command(folder, words).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot start {}", self.0.display()))?;
        if !output.status.success() {
            bail!("`govbridge {}` ended with {}:\n{}", words.join(" "), output.status, tail(&output.stderr));
        }
        String::from_utf8(output.stdout).context("the command printed no text")
    }

    /// A command in a folder. It has a process group of its own: Ctrl-C reaches the demo alone, which ends its
    /// children in their order.
    pub(crate) fn command(&self, folder: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.args(words).current_dir(folder).process_group(0);
        command
    }
}

/// The end of what a process said, for a message.
pub(crate) fn tail(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(12)).map(|line| format!("    {line}\n")).collect()
}

fn appended(log: &Path) -> anyhow::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts `govbridge` with these words in a folder; stdout and stderr go on in the file `log`.
    pub(crate) fn start(
        binary: &Binary,
        name: &str,
        folder: &Path,
        words: &[&str],
        log: &Path,
    ) -> anyhow::Result<Process> {
        let out = appended(log)?;
        Process::start_apart(binary, name, folder, words, out, log)
    }

    /// The same with stdout in a file of its own.
    pub(crate) fn start_apart(
        binary: &Binary,
        name: &str,
        folder: &Path,
        words: &[&str],
        out: File,
        log: &Path,
    ) -> anyhow::Result<Process> {
        let child = binary
            .command(folder, words)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(appended(log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.path().display()))?;
        Ok(Process { name: name.to_owned(), log: log.to_owned(), child: Some(child) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Refuses to go on when the process has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            Some(status) => Err(self.complaint(&format!("ended by itself with {status}"))),
            None => Ok(()),
        }
    }

    /// How the process ended, once it has.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let ended = match &mut self.child {
            Some(child) => child.try_wait()?,
            None => None,
        };
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended)
    }

    /// What the process says last in its log, under a heading.
    pub(crate) fn complaint(&self, what: &str) -> anyhow::Error {
        let said = std::fs::read(&self.log).unwrap_or_default();
        anyhow::anyhow!(
            "{} {what}; it said last (all of it in {}):\n{}",
            self.name,
            self.log.display(),
            tail(&said)
        )
    }

    /// Asks it to end, by SIGTERM.
    ///
    /// # Errors
    /// When it has ended already.
    pub(crate) fn ask_to_end(&mut self) -> anyhow::Result<()> {
        self.check()?;
        let child = self.child.as_ref().with_context(|| format!("{} does not run", self.name))?;
        rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::TERM)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits until it has ended after it was asked to.
    ///
    /// # Errors
    /// When it does not end in time (it is killed then), or ends with another code than 0.
    pub(crate) fn join(mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DRAIN;
        loop {
            if let Some(status) = self.ended()? {
                ensure!(status.success(), self.complaint(&format!("ended with {status} after SIGTERM")));
                return Ok(());
            }
            ensure!(Instant::now() < deadline, self.complaint("did not end within 15 seconds of SIGTERM"));
            std::thread::sleep(LOOK);
        }
    }

    /// Kills it with SIGKILL, as a power cut would.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.check()?;
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when the child is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until `is_done` says so, while every process lives, nobody pressed Ctrl-C, and there is time.
pub(crate) fn wait(
    what: &str,
    patience: Duration,
    interruption: &Interruption,
    processes: &mut [Process],
    mut is_done: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        if is_done()? {
            return Ok(());
        }
        interruption.check()?;
        for process in processes.iter_mut() {
            process.check()?;
        }
        ensure!(Instant::now() < deadline, "{what} took longer than {} seconds", patience.as_secs());
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str) -> Process {
        let binary = Binary::at("/bin/sh");
        Process::start(&binary, "shell", folder, &["-c", script], &folder.join("log")).unwrap()
    }

    fn is_alive(pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        status.is_ok_and(|status| !status.contains(") Z "))
    }

    #[test]
    fn a_dropped_process_is_killed_and_reaped() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell(folder.path(), "sleep 600");
        let pid = process.child.as_ref().unwrap().id();
        assert!(is_alive(pid));
        drop(process);
        assert!(!is_alive(pid));
    }

    #[test]
    fn a_process_that_ends_by_itself_is_reported_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(folder.path(), "echo out of ink >&2; exit 3");
        let complaint =
            wait("the shell", DRAIN, &Interruption::never(), std::slice::from_mut(&mut process), || {
                Ok(false)
            });
        let complaint = complaint.unwrap_err().to_string();
        assert!(complaint.contains("out of ink") && complaint.contains("exit status: 3"), "{complaint}");
    }

    #[test]
    fn sigterm_ends_a_process_and_its_exit_code_counts() {
        let folder = tempfile::tempdir().unwrap();
        for (script, good) in [("exit 0", true), ("exit 1", false)] {
            let ready = folder.path().join("ready");
            let script =
                format!("trap '{script}' TERM; touch {}; while :; do sleep 0.01; done", ready.display());
            let mut process = shell(folder.path(), &script);
            wait("the shell", DRAIN, &Interruption::never(), std::slice::from_mut(&mut process), || {
                Ok(ready.exists())
            })
            .unwrap();
            std::fs::remove_file(&ready).unwrap();
            process.ask_to_end().unwrap();
            assert_eq!(process.join().is_ok(), good, "{script}");
        }
    }

    #[test]
    fn a_command_that_fails_is_refused_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let binary = Binary::at("/bin/sh");
        assert_eq!(binary.run(folder.path(), &["-c", "echo good"]).unwrap(), "good\n");
        let refused = binary.run(folder.path(), &["-c", "echo bad >&2; exit 2"]).unwrap_err().to_string();
        assert!(refused.contains("bad"), "{refused}");
    }
}
