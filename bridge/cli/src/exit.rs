//! How the process ends: an exit code that scripts can rely on, and words for people.

use std::fmt;
use std::process::ExitCode;

/// The exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done, and the verdict, if there is one, is good.
    Good = 0,
    /// 1: what was checked is not good.
    Negative = 1,
    /// 2: the command line, a configuration or an input file of the caller's is wrong.
    Usage = 2,
    /// 3: something outside does not answer: a disk, a network, a server.
    Unavailable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A command that ends early: what happened, what to do, and the page that says more.
#[derive(Debug)]
pub(crate) struct Refusal {
    exit: Exit,
    code: Option<&'static str>,
    what: String,
    remedy: Option<String>,
}

impl Refusal {
    /// Ends with exit code 1.
    pub(crate) fn negative(what: impl fmt::Display) -> Refusal {
        Refusal { exit: Exit::Negative, code: None, what: what.to_string(), remedy: None }
    }

    /// Ends with exit code 2.
    pub(crate) fn usage(what: impl fmt::Display) -> Refusal {
        Refusal { exit: Exit::Usage, code: None, what: what.to_string(), remedy: None }
    }

    /// Ends with exit code 3.
    pub(crate) fn unavailable(what: impl fmt::Display) -> Refusal {
        Refusal { exit: Exit::Unavailable, code: None, what: what.to_string(), remedy: None }
    }

    /// What to do about it, when the message does not say so already.
    pub(crate) fn remedy(mut self, remedy: impl fmt::Display) -> Refusal {
        self.remedy = Some(remedy.to_string());
        self
    }

    /// The file that it is about.
    pub(crate) fn at(mut self, path: &std::path::Path) -> Refusal {
        self.what = format!("{}: {}", path.display(), self.what);
        self
    }

    /// The page `docs/errors/<code>.md`.
    pub(crate) fn code(mut self, code: &'static str) -> Refusal {
        self.code = Some(code);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  do: {remedy}")?;
        }
        if let Some(code) = self.code {
            write!(f, "\n  see: docs/errors/{code}.md")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// The words and the exit code of an error that reached the door. One that nobody gave an exit code is taken as a
/// mistake in what the caller gave.
pub(crate) fn of_error(error: &anyhow::Error) -> (String, Exit) {
    match error.downcast_ref::<Refusal>() {
        Some(refusal) => (format!("govbridge: {refusal}"), refusal.exit),
        None => (format!("govbridge: {error:#}"), Exit::Usage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_exit_code_under_added_words() {
        let error = anyhow::Error::new(Refusal::unavailable("the disk is full")).context("while writing");
        let (words, exit) = of_error(&error);
        assert_eq!(exit, Exit::Unavailable);
        assert!(words.contains("the disk is full"), "{words}");
    }

    #[test]
    fn an_error_without_a_code_is_a_mistake_of_the_caller() {
        assert_eq!(of_error(&anyhow::anyhow!("no")).1, Exit::Usage);
    }
}
