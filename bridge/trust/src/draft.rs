//! A version that is still being written. A draft may be incomplete; it is judged before it is signed.

use crate::content::{
    Content, DepartmentLines, FORMAT, KeyLine, LogLines, PolicyLines, SigningLines, WitnessLines,
};
use crate::{Problem, Terms, Trust};
use bridge_event::{Department, LogIndex, Origin};

/// A version of the trust file before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    content: Content,
}

/// An edit that the draft does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// TRU020: what is to be changed is not there.
    #[error("nothing was changed: {0} is not in the draft; look at it with `govbridge trust show`")]
    Missing(String),
    /// TRU020: what is to be added is there already.
    #[error("nothing was changed: {0} is in the draft already; look at it with `govbridge trust show`")]
    AlreadyThere(String),
}

impl EditError {
    /// The code of the error page.
    pub fn code(&self) -> &'static str {
        "TRU020"
    }
}

/// A log or a witness to be added: who it is, whose, and where it answers.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Who runs it.
    pub department: &'a Department,
    /// Its C2SP verifier key.
    pub vkey: &'a str,
    /// Where it answers.
    pub url: &'a str,
}

impl Draft {
    /// Begins version 1 of a domain's trust file.
    pub fn first(domain: &str, threshold: u32, roots: &[String]) -> Draft {
        let roots = roots.iter().map(|key| KeyLine { key: key.clone() }).collect();
        Draft {
            content: Content {
                govbridge_trust: FORMAT,
                domain: domain.to_owned(),
                version: 1,
                previous: None,
                threshold,
                policy: None,
                roots,
                departments: Vec::new(),
                logs: Vec::new(),
                witnesses: Vec::new(),
            },
        }
    }

    /// Begins the version after a verified one, with the same content.
    ///
    /// # Errors
    /// [`Problem::Succession`] when there is no number left, and [`Problem::Toml`] never, as the text was read before.
    pub fn after(previous: &Trust) -> Result<Draft, Problem> {
        let mut content = Content::parse(previous.text())?;
        let next = content.version.checked_add(1);
        content.version =
            next.ok_or_else(|| Problem::Succession("the version number has no successor".to_owned()))?;
        content.previous = Some(previous.digest().to_string());
        Ok(Draft { content })
    }

    /// Reads a draft back from its text.
    ///
    /// # Errors
    /// [`Problem::Toml`] or [`Problem::Format`]; what else is wrong, [`Draft::terms`] says.
    pub fn parse(text: &str) -> Result<Draft, Problem> {
        Content::parse(text).map(|content| Draft { content })
    }

    /// The draft's text: what is signed when it is signed.
    ///
    /// # Errors
    /// [`Problem::Toml`] when it is longer than a note can be.
    pub fn text(&self) -> Result<String, Problem> {
        self.content.render()
    }

    /// Judges the draft as a reader would, except for signatures.
    ///
    /// # Errors
    /// All problems that it has.
    pub fn terms(&self) -> Result<Terms, Vec<Problem>> {
        let text = self.text().map_err(|problem| vec![problem])?;
        Terms::parse(&text)
    }

    /// Its version number.
    pub fn version(&self) -> u64 {
        self.content.version
    }

    /// Adds a root key and leaves the threshold as it is.
    ///
    /// # Errors
    /// [`EditError::AlreadyThere`].
    pub fn add_root(&mut self, vkey: &str) -> Result<(), EditError> {
        absent(self.content.roots.iter().any(|line| line.key == vkey), "this root key")?;
        self.content.roots.push(KeyLine { key: vkey.to_owned() });
        Ok(())
    }

    /// Changes how many root keys must sign the version after this one.
    pub fn set_threshold(&mut self, threshold: u32) {
        self.content.threshold = threshold;
    }

    /// Changes how many witnesses must cosign, and how many of them may lie.
    pub fn set_policy(&mut self, quorum: u32, liars: u32) {
        self.content.policy = Some(PolicyLines { quorum, liars });
    }

    /// Adds a department without keys.
    ///
    /// # Errors
    /// [`EditError::AlreadyThere`].
    pub fn add_department(&mut self, name: &Department, title: &str) -> Result<(), EditError> {
        let there = self.content.departments.iter().any(|d| d.name == name.as_str());
        absent(there, &format!("department {name}"))?;
        self.content.departments.push(DepartmentLines {
            name: name.to_string(),
            title: title.to_owned(),
            signing: Vec::new(),
            recipient: Vec::new(),
            operator: Vec::new(),
        });
        Ok(())
    }

    /// Adds a signing key, valid from an index of a log on.
    ///
    /// # Errors
    /// [`EditError`] for an unknown department or a key that is there.
    pub fn add_signing(
        &mut self,
        department: &Department,
        key: &str,
        origin: &Origin,
        from: LogIndex,
    ) -> Result<(), EditError> {
        let member = self.member(department)?;
        absent(member.signing.iter().any(|line| line.key == key), "this signing key")?;
        member.signing.push(SigningLines {
            key: key.to_owned(),
            origin: origin.to_string(),
            from_index: from.0,
            until_index: None,
        });
        Ok(())
    }

    /// Ends a signing key: it is not valid for the entry at `until` nor for any after it.
    ///
    /// # Errors
    /// [`EditError::Missing`].
    pub fn end_signing(
        &mut self,
        department: &Department,
        key: &str,
        until: LogIndex,
    ) -> Result<(), EditError> {
        let member = self.member(department)?;
        let line = member.signing.iter_mut().find(|line| line.key == key);
        line.ok_or_else(|| EditError::Missing("this signing key".to_owned()))?.until_index = Some(until.0);
        Ok(())
    }

    /// Adds a recipient key; it becomes the one to wrap for.
    ///
    /// # Errors
    /// [`EditError`] for an unknown department or a key that is there.
    pub fn add_recipient(&mut self, department: &Department, key: &str) -> Result<(), EditError> {
        let member = self.member(department)?;
        absent(member.recipient.iter().any(|line| line.key == key), "this recipient key")?;
        member.recipient.push(KeyLine { key: key.to_owned() });
        Ok(())
    }

    /// Adds an operator's key.
    ///
    /// # Errors
    /// [`EditError`] for an unknown department or a key that is there.
    pub fn add_operator(&mut self, department: &Department, key: &str) -> Result<(), EditError> {
        let member = self.member(department)?;
        absent(member.operator.iter().any(|line| line.key == key), "this operator key")?;
        member.operator.push(KeyLine { key: key.to_owned() });
        Ok(())
    }

    /// Adds a log.
    ///
    /// # Errors
    /// [`EditError::AlreadyThere`].
    pub fn add_log(&mut self, origin: &Origin, place: Place<'_>) -> Result<(), EditError> {
        absent(self.content.logs.iter().any(|log| log.origin == origin.as_str()), &format!("log {origin}"))?;
        self.content.logs.push(LogLines {
            origin: origin.to_string(),
            department: place.department.to_string(),
            vkey: place.vkey.to_owned(),
            url: place.url.to_owned(),
        });
        Ok(())
    }

    /// Adds a witness.
    ///
    /// # Errors
    /// [`EditError::AlreadyThere`].
    pub fn add_witness(&mut self, name: &str, place: Place<'_>, checking: bool) -> Result<(), EditError> {
        absent(self.content.witnesses.iter().any(|w| w.name == name), &format!("witness {name}"))?;
        self.content.witnesses.push(WitnessLines {
            name: name.to_owned(),
            department: place.department.to_string(),
            vkey: place.vkey.to_owned(),
            url: place.url.to_owned(),
            checking,
        });
        Ok(())
    }

    /// Removes whatever bears this key: a root, a recipient or operator key, a log or a witness. A signing key is
    /// ended and not removed, or what it signed could no longer be verified.
    ///
    /// # Errors
    /// [`EditError::Missing`].
    pub fn remove(&mut self, key: &str) -> Result<(), EditError> {
        let before = self.keys();
        self.content.roots.retain(|line| line.key != key);
        for member in &mut self.content.departments {
            member.recipient.retain(|line| line.key != key);
            member.operator.retain(|line| line.key != key);
        }
        self.content.logs.retain(|log| log.vkey != key);
        self.content.witnesses.retain(|witness| witness.vkey != key);
        if self.keys() == before {
            return Err(EditError::Missing(
                "this key (of a root, recipient, operator, log or witness)".to_owned(),
            ));
        }
        Ok(())
    }

    fn keys(&self) -> usize {
        let departments = self.content.departments.iter().map(|d| d.recipient.len() + d.operator.len());
        self.content.roots.len()
            + self.content.logs.len()
            + self.content.witnesses.len()
            + departments.sum::<usize>()
    }

    fn member(&mut self, name: &Department) -> Result<&mut DepartmentLines, EditError> {
        let member = self.content.departments.iter_mut().find(|d| d.name == name.as_str());
        member.ok_or_else(|| EditError::Missing(format!("department {name}")))
    }
}

fn absent(there: bool, what: &str) -> Result<(), EditError> {
    if there { Err(EditError::AlreadyThere(what.to_owned())) } else { Ok(()) }
}
