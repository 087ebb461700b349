//! What a connector needs from files, each checked against the others before anything begins.

use super::settings::Settings;
use crate::configuration::Folder;
use crate::contract;
use crate::exit::Refusal;
use crate::key_store::{self, PassphraseFrom};
use crate::trust;
use bridge_pipeline::Promise;
use bridge_suite::{Role, SigningKey};
use bridge_tlog::NoteSigner;
use bridge_trust::Trust;
use schemas::Contract;
use std::path::Path;
use std::sync::Arc;

fn passphrase(settings: &Settings, folder: &Folder) -> PassphraseFrom {
    PassphraseFrom {
        passphrase_file: settings.keys.passphrase_file.as_deref().map(|file| folder.path(file)),
        passphrase_env: None,
    }
}

/// The department's signing key.
pub(super) fn signing_key(settings: &Settings, folder: &Folder) -> anyhow::Result<SigningKey> {
    let path = folder.path(&settings.keys.signing);
    let read = key_store::read_signing(&path, Role::Signing, &passphrase(settings, folder));
    let (name, key) = folder.of_key("keys.signing", read)?;
    folder.of_key("keys.signing", key_store::check_owner(&path, &name, settings.department.as_str()))?;
    Ok(key)
}

/// The log's key, ready to sign checkpoints.
pub(super) fn log_signer(settings: &Settings, folder: &Folder) -> anyhow::Result<NoteSigner> {
    let path = folder.path(&settings.keys.log);
    let read = key_store::read_signing(&path, Role::Log, &passphrase(settings, folder));
    let (name, key) = folder.of_key("keys.log", read)?;
    folder.of_key("keys.log", key_store::check_owner(&path, &name, settings.origin.as_str()))?;
    NoteSigner::log(&name, key).map_err(|error| Refusal::usage(error).at(&path).code("KEY006").into())
}

/// The trust file, in which both keys must stand.
pub(super) fn trust(
    settings: &Settings,
    folder: &Folder,
    signing: &SigningKey,
    log: &NoteSigner,
) -> anyhow::Result<Trust> {
    let trust = trust::load_section(&settings.trust, folder)?;
    let (department, origin) = (&settings.department, &settings.origin);
    let missing = |what: String| {
        Refusal::usage(format!("CFG006: version {} of the trust file {what}", trust.version()))
            .remedy("give the key that it names, or have the root holders sign a version with this one")
            .code("CFG006")
    };
    if trust.signing_key(department, origin, &signing.id()).is_none() {
        let what = format!(
            "does not name {} as a signing key of {department} for {origin}",
            settings.keys.signing.display()
        );
        return Err(missing(what).into());
    }
    if trust.log(origin).is_none_or(|known| known.key != *log.verifier()) {
        let what = format!("does not name {} as the key of the log {origin}", settings.keys.log.display());
        return Err(missing(what).into());
    }
    if trust.recipient_key(department).is_none() {
        let what = format!(
            "CFG006: version {} of the trust file names no recipient key of {department}: its sections are wrapped for \
             {department} itself too",
            trust.version()
        );
        let remedy = format!(
            "make one (`govbridge keygen --role recipient --name {department}`), and have the root holders sign a version with it"
        );
        return Err(Refusal::usage(what).remedy(remedy).code("CFG006").into());
    }
    Ok(trust)
}

/// The contracts, each of this department and this log, no dataset twice.
pub(super) fn promises(settings: &Settings, folder: &Folder) -> anyhow::Result<Vec<Promise>> {
    let mut promises: Vec<Promise> = Vec::new();
    for path in folder.paths(&settings.contracts) {
        let promise = folder.of_key("contracts", promise(&path))?;
        let contract = &promise.contract;
        let refused =
            |what: String| Refusal::usage(format!("CFG007: {}: {what}", path.display())).code("CFG007");
        if *contract.department() != settings.department || *contract.origin() != settings.origin {
            return Err(refused(format!(
                "the contract is of {} and the log {}; the configuration says {} and {}",
                contract.department(),
                contract.origin(),
                settings.department,
                settings.origin
            ))
            .remedy("name contracts of this connector only, or correct department and origin")
            .into());
        }
        if promises.iter().any(|other| other.contract.dataset() == contract.dataset()) {
            return Err(refused(format!("dataset {} is named twice", contract.dataset()))
                .remedy("remove one of the two from `contracts`")
                .into());
        }
        promises.push(promise);
    }
    Ok(promises)
}

fn promise(folder: &Path) -> anyhow::Result<Promise> {
    let files = contract::files(folder)?;
    let contract = Contract::parse(&files).map_err(|problems| {
        let code = problems.iter().next().map_or("CFG007", |problem| problem.code);
        Refusal::usage(format!("{}: the contract has problems:\n{problems}", folder.display()))
            .remedy("`govbridge contract check` says the same, line by line")
            .code(code)
    })?;
    Ok(Promise { contract: Arc::new(contract), files })
}
