//! `govbridge inspect`: the clear part of a file, without keys. It tells what a file is by its first bytes and shape,
//! and verifies nothing but the shape.

mod entries;
mod frames;
mod sheet;
mod texts;

use crate::exit::{Exit, Refusal};
use crate::output;
use bridge_envelope::{BLOCK_BYTES_MAX, ENTRY_BYTES_MAX, Entry, Frame, FrameKind, SectionBlock};
use sheet::{Field, Sheet};
use std::path::PathBuf;
use std::process::ExitCode;

/// Longest input: an entry bundle of 256 entries of 65,535 bytes with their lengths, 16,777,472 bytes; a frame has at
/// most half of that.
const BYTES_MAX: u64 = 256 * (65_535 + 2);

const LONG: &str = "\
Shows the clear part of a file: what its sender says about it, and what a broker sees. No key is needed, and no \
signature is verified.

It knows, by their first bytes or shape: a frame (batch, fence, beacon, key record, rewrap, contract record, \
incarnation record), a section block, a log entry, an entry bundle, a checkpoint, a tlog-proof, a trust file or draft, \
a public key's line or vkey, and of a private key's file its public half.";

const EXAMPLES: &str = "\
Examples:
  govbridge inspect batch.gbb
  govbridge inspect log/tile/entries/000 --json
  curl -s https://log.tax.example/checkpoint | govbridge inspect -

Exit codes: 0 shown, 1 not one of these or malformed, 2 usage.";

/// Show the clear part of a frame, entry, checkpoint or trust file
#[derive(Debug, clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The file, - for stdin
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let bytes = output::read(&args.file, BYTES_MAX)?;
    if texts::is_trust_file(&bytes) {
        output::lines(&crate::trust::show_file(&bytes, args.json)?)?;
        return Ok(Exit::Good.into());
    }
    let sheet = sheet_of(&bytes).map_err(|refusal| refusal.at(&args.file))?;
    if args.json {
        output::json(&sheet)?;
    } else {
        output::lines(&sheet.to_string())?;
    }
    Ok(Exit::Good.into())
}

/// What the bytes are. Every format is read strictly to its last byte, so no file is two things.
fn sheet_of(bytes: &[u8]) -> Result<Sheet, Refusal> {
    if let Some(kind) = FrameKind::of(bytes) {
        let frame = Frame::parse(bytes).map_err(|error| {
            Refusal::negative(format!("it begins as a {kind:?} frame and is none: {error}"))
                .code(error.code())
        })?;
        return Ok(frames::frame(&frame));
    }
    if let Some(found) = texts::text(bytes) {
        return found;
    }
    if bytes.len() <= ENTRY_BYTES_MAX
        && let Ok(entry) = Entry::decode(bytes)
    {
        return Ok(entries::entry(bytes, &entry));
    }
    if bytes.len() <= BLOCK_BYTES_MAX
        && let Ok(block) = SectionBlock::decode(bytes)
    {
        let digest = Field::text(SectionBlock::digest_of(bytes));
        return Ok(Sheet::of("section block").with("digest", digest).and(frames::block(&block)));
    }
    if let Some(found) = entries::split_bundle(bytes) {
        return Ok(entries::bundle(&found));
    }
    Err(Refusal::negative(format!("{} bytes of no known kind", bytes.len()))
        .remedy("`govbridge help inspect` lists what is known; check that the file is whole"))
}
