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
    code: Option<String>,
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

    /// How the process ends with it.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether it is the refusal of this code's page.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
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

    /// The place in a configuration that it is about. A code stays in front of it.
    pub(crate) fn placed(mut self, place: &str) -> Refusal {
        self.what =
            match code_at_start(&self.what).and_then(|code| self.what.split_at_checked(code.len() + 1)) {
                Some((code, what)) => format!("{code} {place}:{what}"),
                None => format!("{place}: {}", self.what),
            };
        self
    }

    /// The page `docs/errors/<code>.md`.
    pub(crate) fn code(mut self, code: impl Into<String>) -> Refusal {
        self.code = Some(code.into());
        self
    }

    /// A refusal in the words of an error that begin with its code, `ABC123: ...`; the code names the page.
    pub(crate) fn coded(exit: Exit, error: impl fmt::Display) -> Refusal {
        let what = error.to_string();
        let code = code_at_start(&what).map(str::to_owned);
        Refusal { exit, code, what, remedy: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  do: {remedy}")?;
        }
        if let Some(code) = &self.code {
            write!(f, "\n  see: docs/errors/{code}.md")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// The code that a message begins with: three capital letters, three digits, a colon.
pub(crate) fn code_at_start(text: &str) -> Option<&str> {
    let (code, _) = text.split_once(':')?;
    let (letters, digits) = code.split_at_checked(3)?;
    let fits = digits.len() == 3
        && letters.bytes().all(|b| b.is_ascii_uppercase())
        && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then_some(code)
}

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
    fn a_place_stands_behind_the_code_and_before_the_words() {
        let coded = Refusal::usage("APP009: log is no log").placed("c.toml: log.directory");
        assert_eq!(coded.what, "APP009: c.toml: log.directory: log is no log");
        let plain = Refusal::usage("a.db could not be opened").placed("c.toml: source.file");
        assert_eq!(plain.what, "c.toml: source.file: a.db could not be opened");
    }

    #[test]
    fn an_error_keeps_its_exit_code_under_added_words() {
        let error = anyhow::Error::new(Refusal::unavailable("the disk is full")).context("while writing");
        let (words, exit) = of_error(&error);
        assert_eq!(exit, Exit::Unavailable);
        assert!(words.contains("the disk is full"), "{words}");
    }

    #[test]
    fn the_code_of_a_message_names_its_page() {
        assert_eq!(code_at_start("APP009: no log"), Some("APP009"));
        for text in ["no log", "APP09: x", "app009: x", "APP009 x", "日志A1: x", ""] {
            assert_eq!(code_at_start(text), None, "{text}");
        }
        let words = Refusal::coded(Exit::Unavailable, "APP001: held").to_string();
        assert_eq!(words, "APP001: held\n  see: docs/errors/APP001.md");
    }

    #[test]
    fn an_error_without_a_code_is_a_mistake_of_the_caller() {
        assert_eq!(of_error(&anyhow::anyhow!("no")).1, Exit::Usage);
    }
}
