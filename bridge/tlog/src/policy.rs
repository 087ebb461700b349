//! Policies: which logs are trusted, and whose cosignatures a checkpoint needs (C2SP tlog-policy).

use std::collections::BTreeMap;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::key::{SignatureKind, VerifierKey};
use crate::note::{Note, VerifyError};

/// A note that a policy cannot be applied to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// The note is no checkpoint of a log of the policy.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A known key's signature does not hold, or there is none.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Witnesses signed, the log did not.
    #[error("the checkpoint of {origin:?} has no signature of its log: refuse it")]
    NotSignedByLog {
        /// The origin in the checkpoint.
        origin: String,
    },
}

/// A trusted log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key, whose name is its origin.
    pub key: VerifierKey,
    /// Where it is reached.
    pub url: Option<String>,
}

/// A trusted witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name in this policy.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
    /// Where it is reached: its submission prefix.
    pub url: Option<String>,
}

/// Witnesses and groups of which some are enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyGroup {
    /// Its name in this policy.
    pub name: String,
    /// How many members are enough, from 1 to all.
    pub threshold: usize,
    /// Names of witnesses and of groups above.
    pub members: Vec<String>,
}

/// Which logs are trusted, and whose cosignatures are enough.
///
/// Invariant: names are unique and defined before use, each in at most one group, and keys are unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) logs: Vec<PolicyLog>,
    pub(crate) witnesses: Vec<PolicyWitness>,
    pub(crate) groups: Vec<PolicyGroup>,
    pub(crate) quorum: Option<String>,
}

/// A witness's valid cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The witness's name in the policy.
    pub witness: String,
    /// When it cosigned, in seconds since 1970; the latest time, when it did so more than once.
    pub time: u64,
}

/// What a policy says of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a checkpoint is trusted only if its quorum is reached"]
pub struct Standing {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Whether a log of the policy signed it. False only when the policy names no logs: the caller then knows the log.
    pub signed_by_log: bool,
    /// Who cosigned it, in the policy's order.
    pub cosigned: Vec<Cosigned>,
    /// Whether those are enough.
    pub quorum: bool,
}

impl Policy {
    /// The trusted logs. When there are none, the caller knows the log from elsewhere.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The trusted witnesses.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// The groups; each is below those that it contains.
    pub fn groups(&self) -> &[PolicyGroup] {
        &self.groups
    }

    /// The witness or group that must have witnessed a checkpoint; none when no witness is needed.
    pub fn quorum(&self) -> Option<&str> {
        self.quorum.as_deref()
    }

    /// Whether these witnesses are enough. A log that must not count its owner's witness says so here.
    pub fn reaches_quorum(&self, witnessed: impl Fn(&PolicyWitness) -> bool) -> bool {
        let Some(quorum) = self.quorum() else { return true };
        let mut reached: BTreeMap<&str, bool> =
            self.witnesses.iter().map(|witness| (witness.name.as_str(), witnessed(witness))).collect();
        let holds = |reached: &BTreeMap<&str, bool>, name: &str| reached.get(name).copied().unwrap_or(false);
        for group in &self.groups {
            let count = group.members.iter().filter(|member| holds(&reached, member)).count();
            reached.insert(&group.name, count >= group.threshold);
        }
        holds(&reached, quorum)
    }

    /// Verifies a checkpoint: that its log signed it, who cosigned it and when, and whether those are enough. A quorum
    /// that is not reached is no error.
    ///
    /// # Errors
    /// The note is not a checkpoint of a log of the policy, that log did not sign it, or a signature of a known key
    /// does not hold.
    pub fn evaluate(&self, note: &Note) -> Result<Standing, EvaluateError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        let is_its_log =
            |key: &VerifierKey| key.kind() == SignatureKind::Ed25519 && key.name() == checkpoint.origin;
        if !self.logs.is_empty() && !self.logs.iter().any(|log| is_its_log(&log.key)) {
            return Err(CheckpointError::OtherOrigin { origin: checkpoint.origin }.into());
        }
        let logs = self.logs.iter().map(|log| &log.key);
        let verified = note.verify(logs.chain(self.witnesses.iter().map(|witness| &witness.key)))?;
        let signed_by_log = verified.iter().any(|signed| is_its_log(signed.key));
        if !self.logs.is_empty() && !signed_by_log {
            return Err(EvaluateError::NotSignedByLog { origin: checkpoint.origin });
        }
        let time_of = |witness: &PolicyWitness| {
            verified.iter().find(|signed| *signed.key == witness.key).and_then(|signed| signed.time)
        };
        let cosigned = self
            .witnesses
            .iter()
            .filter_map(|witness| Some(Cosigned { witness: witness.name.clone(), time: time_of(witness)? }))
            .collect();
        let quorum = self.reaches_quorum(|witness| time_of(witness).is_some());
        Ok(Standing { checkpoint, signed_by_log, cosigned, quorum })
    }
}
