//! `govbridge keygen`: makes a private key and prints its public half.

use crate::exit::{Exit, Refusal};
use crate::key_store::{self, PassphraseFrom};
use crate::output;
use bridge_event::{Department, Origin};
use bridge_suite::{KeyFile, PrivateHalf, Role, Secret};
use bridge_tlog::{SignatureKind, VerifierKey};
use std::path::PathBuf;
use std::process::ExitCode;

const LONG: &str = "\
Makes a private key, writes it into a new file with mode 0600, and prints the public half as one line. The line goes \
into the trust file; the file stays on the machine that uses it.

Each role has a key of its own:
  signing    a connector signs batches with it            --name is the department
  log        a connector signs its log's checkpoints      --name is the origin, <domain>/<department>/<connector>
  recipient  a department opens its sections with it      --name is the department
  witness    a witness cosigns checkpoints with it        --name is the witness, such as audit.gov.example/w1
  root       a root holder signs the trust file with it   --name is the holder, such as gov.example/root/li
  operator   a person accepts a GAP or RETRACT with it    --name is the department

An existing file is never overwritten. A key file that group or others can read is refused when it is read.";

const EXAMPLES: &str = "\
Examples:
  govbridge keygen --role signing --name tax --out keys/tax-signing.key
  govbridge keygen --role log --name gov.example/tax/main --out keys/tax-log.key
  govbridge keygen --role root --name gov.example/root/li --out li.key --passphrase-file li.pass
  govbridge keygen --show keys/tax-log.key            print the public half again

Exit codes: 0 done, 2 usage or configuration, 3 a file could not be written.";

/// Make a private key and print its public half
#[derive(Debug, clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What the key is for: signing, log, recipient, witness, root or operator
    #[arg(long, required_unless_present = "show")]
    role: Option<Role>,
    /// Whose key it is: a department, an origin, or the name of a witness or root holder
    #[arg(long, required_unless_present = "show")]
    name: Option<String>,
    /// The new file
    #[arg(long, value_name = "FILE", required_unless_present = "show")]
    out: Option<PathBuf>,
    /// Print the public half of this key file, and make nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["role", "name", "out"])]
    show: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseFrom,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (key, path) = match (args.show, args.role, args.name, args.out) {
        (Some(path), ..) => (key_store::read(&path, &args.passphrase)?, path),
        (None, Some(role), Some(name), Some(path)) => {
            let key = make(role, &name)?;
            let passphrase = args.passphrase.read()?;
            key_store::write(&path, &key, passphrase.as_deref().map(String::as_str))?;
            output::say(&format!(
                "{} holds the private {role} key of {name}; keep it where it is used.",
                path.display()
            ));
            (key, path)
        }
        _ => return Err(Refusal::usage("--role, --name and --out are needed, or --show").into()),
    };
    let public = public_line(&key)?;
    if args.json {
        output::json(&serde_json::json!({
            "role": key.role().name(),
            "name": key.name(),
            "key_id": key.id().to_string(),
            "public": public,
            "file": path.display().to_string(),
        }))?;
    } else {
        output::data(&format!("{public}\n"))?;
    }
    Ok(Exit::Good.into())
}

fn make(role: Role, name: &str) -> anyhow::Result<KeyFile> {
    let named = match role {
        Role::Signing | Role::Recipient | Role::Operator => name.parse::<Department>().map(drop),
        Role::Log => name.parse::<Origin>().map(drop),
        Role::Witness | Role::Root => Ok(()),
    };
    named.map_err(|error| Refusal::usage(error).code("KEY006"))?;
    let seed = Secret::new(key_store::random()?);
    let key = KeyFile::new(name, PrivateHalf::from_seed(role, &seed))
        .map_err(|error| Refusal::usage(error).code("KEY006"))?;
    Ok(key)
}

/// The public half as the trust file takes it: a C2SP verifier key for logs, witnesses and roots, a key line for the rest.
fn public_line(key: &KeyFile) -> anyhow::Result<String> {
    let kind = match key.role() {
        Role::Signing | Role::Recipient | Role::Operator => return Ok(key.line().to_string()),
        Role::Log | Role::Root => SignatureKind::Ed25519,
        Role::Witness => SignatureKind::CosignatureV1,
    };
    let vkey = VerifierKey::new(key.name(), kind, &key.line().key().bytes())
        .map_err(|error| Refusal::usage(error).code("KEY006"))?;
    Ok(vkey.to_string())
}
