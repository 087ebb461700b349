"""Sealed batches (docs/spec/sealed-batch.md): verification without keys, and opening."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

import zstandard

from . import avro, suite
from .finding import Finding, Refused, raise_if, refuse
from .frame import BATCH, Frame, signature_findings, split, stream_findings
from .known import Known
from .rows import Row, Section, read_rows
from .wire import genesis, lp, sha256, u8, u16, u32, u64

MAX_FRAME = 8_388_608
MAX_BLOCK = 4_096
MAX_CONTENT = 67_174_400
MAX_FRAGMENTED = 67_108_864
MAX_FRAGMENTS = 1_024
LAST_FRAGMENT = 2**32 - 1
KINDS = ("stream", "snapshot", "schema", "gap", "retract")
COMPRESSIONS = ("none", "zstd")
END = 2**64 - 1


@dataclass(frozen=True)
class Block:
    """A section's block and ciphertext as they stand in the frame."""

    fields: dict[str, Any]
    content: bytes
    ciphertext: bytes

    @property
    def name(self) -> str:
        """The section's name."""
        name: str = self.fields["name"]
        return name


@dataclass(frozen=True)
class Batch:
    """A verified batch, its sections not opened."""

    header: dict[str, Any]
    header_bytes: bytes
    digest: bytes
    blocks: tuple[Block, ...]

    @property
    def rows(self) -> int:
        """How many rows every section has."""
        count: int = self.header["row_events"] + self.header["truncates"]
        return count


@dataclass(frozen=True)
class SectionKeys:
    """What is derived for a section from its secret (section 5)."""

    ctx0: bytes
    ctx: bytes
    hash_of_ctx0: bytes
    hash_of_ctx: bytes
    s: bytes
    b: bytes
    aead_key: bytes
    commitment: bytes


@dataclass(frozen=True)
class OpenRow:
    """A row with what its leaf is made of."""

    row: Row
    salt: bytes
    group_salts: tuple[bytes, ...]
    leaf: bytes


@dataclass(frozen=True)
class OpenSection:
    """A section that was opened, with everything in between."""

    name: str
    keys: SectionKeys
    plaintext: bytes
    content: bytes
    rows: tuple[OpenRow, ...]


def verify(content: bytes, known: Known) -> Batch:
    """Everything of section 4, or Refused with all findings."""
    if len(content) > MAX_FRAME:
        raise refuse("VER003", f"a frame of {len(content)} bytes")
    frame = split(content, BATCH)
    try:
        header = avro.decode(BATCH.schema, frame.body)
    except Refused as refused:
        raise Refused([*signature_findings(frame, known, operator=False), *refused.findings]) from None
    try:
        blocks = _blocks(frame, len(header["sections"]))
    except Refused as refused:
        raise Refused([*_header_findings(frame, header, known), *refused.findings]) from None
    batch = Batch(header, frame.body, frame.digest, blocks)
    raise_if([*_header_findings(frame, header, known), *_block_findings(batch)])
    return batch


def _blocks(frame: Frame, count: int) -> tuple[Block, ...]:
    rest = frame.trailer
    raw: list[tuple[dict[str, Any], bytes]] = []
    for _ in range(count):
        length = int.from_bytes(rest[:4], "big")
        if len(rest) < 4:
            raise refuse("VER002", "the frame ends inside a block's length")
        if length > MAX_BLOCK:
            raise refuse("VER003", f"a block of {length} bytes")
        if length > len(rest) - 4:
            raise refuse("VER002", "the frame ends inside a block")
        block = rest[4 : 4 + length]
        raw.append((avro.decode("section-block", block), block))
        rest = rest[4 + length :]
    blocks = []
    for fields, block in raw:
        length = fields["ciphertext_bytes"]
        if length > len(rest):
            raise refuse("VER002", f"the frame ends inside the ciphertext of {fields['name']}")
        blocks.append(Block(fields, block, rest[:length]))
        rest = rest[length:]
    if rest:
        raise refuse("VER004", f"{len(rest)} bytes after the frame")
    return tuple(blocks)


def _header_findings(frame: Frame, header: dict[str, Any], known: Known) -> list[Finding]:
    found = signature_findings(frame, known, operator=header["kind"] in ("gap", "retract"))
    found += stream_findings(header, known)
    unavailable = avro.require_suite(header)
    found += unavailable
    if not unavailable and header["suite"] != known.stream.suite:
        found.append(Finding("VER022", f"suite {header['suite']}"))
    stream = known.stream
    first = genesis(stream.origin, stream.department, stream.dataset, stream.partition)
    same_stream = not any(f.code in ("VER020", "VER021") for f in found)
    if header["sequence"] == 0 and same_stream and header["previous"] != first:
        found.append(Finding("VER030", "the first batch does not follow the stream's genesis"))
    for extension in header["extensions"]:
        if extension["critical"]:
            found.append(Finding("VER031", f"extension {extension['id']}"))
    return found + [Finding("VER032", what) for what in contradictions(header)]


def _mark(position: dict[str, Any]) -> tuple[int, int, int]:
    return position["commit"], position["ordinal"], position["fragment"]


def contradictions(header: dict[str, Any]) -> list[str]:
    """What of VER032 holds."""
    kind, notice = header["kind"], header["notice"]
    rows = header["row_events"] + header["truncates"]
    first, last = _mark(header["first"]), _mark(header["last"])
    resolved = header["resolved"]["commit"], header["resolved"]["ordinal"]
    ids = [extension["id"] for extension in header["extensions"]]
    rules = {
        "epoch 0": header["epoch"] == 0,
        "a Gap and kind gap": (notice is not None and notice["record"] == "Gap") != (kind == "gap"),
        "a Retract and kind retract": (notice is not None and notice["record"] == "Retract")
        != (kind == "retract"),
        "a snapshot and kind snapshot": (header["snapshot"] is not None) != (kind == "snapshot"),
        "rows in a notice": kind in ("gap", "retract") and rows > 0,
        "first after last": first > last,
        "no rows and two positions": rows == 0 and first != last,
        "transactions": header["transactions_begun"] + header["continues"]
        != header["transactions_ended"] + header["leaves_open"],
        "the first batch continues": header["continues"] and header["sequence"] == 0,
        "open and closed by a commit": header["leaves_open"] and header["closed_by"] == "commit",
        "resolved past an open transaction": kind == "stream"
        and header["leaves_open"]
        and resolved >= (header["last"]["commit"], END),
        "extensions do not ascend": any(a >= b for a, b in zip(ids, ids[1:], strict=False)),
    }
    return [what for what, holds in rules.items() if holds] + _parts_contradictions(header, rows)


def _parts_contradictions(header: dict[str, Any], rows: int) -> list[str]:
    notice = header["notice"] or {}
    lost = [reference["sequence"] for reference in notice.get("lost", [])]
    rules = {
        "fragment": _fragment_contradicts(header, rows),
        "lost batches with a hole": any(a + 1 != b for a, b in zip(lost, lost[1:], strict=False)),
        "a vanished range": any(v["first_leaf"] > v["last_leaf"] for v in notice.get("vanished", [])),
    }
    return [what for what, holds in rules.items() if holds]


def _fragment_contradicts(header: dict[str, Any], rows: int) -> bool:
    part, kind = header["fragment"], header["kind"]
    first, last = _mark(header["first"]), _mark(header["last"])
    if part is None:
        unfinished = first[2] not in (0, LAST_FRAGMENT) or last[2] not in (0, LAST_FRAGMENT)
        return (first[2], last[2]) != (0, 0) if rows else header["notice"] is None and unfinished
    index, of = part["index"], part["of"]
    is_last = index + 1 == of
    return (
        kind not in ("stream", "snapshot")
        or not 2 <= of <= MAX_FRAGMENTS
        or index >= of
        or part["total_bytes"] > MAX_FRAGMENTED
        or (header["row_events"], header["truncates"]) != (1, 0)
        or first != last
        or first[2] != (LAST_FRAGMENT if is_last else index + 1)
        or (kind == "stream" and index > 0 and not header["continues"])
        or (kind == "stream" and not is_last and not header["leaves_open"])
    )


def _block_findings(batch: Batch) -> list[Finding]:
    found = []
    if batch.rows > 65_536:
        found.append(Finding("VER003", f"{batch.rows} rows"))
    if (batch.rows > 0) != bool(batch.blocks):
        found.append(Finding("VER033", f"{batch.rows} rows in {len(batch.blocks)} sections"))
    for digest, block in zip(batch.header["sections"], batch.blocks, strict=True):
        if sha256(b"govbridge/v1/section-block\0", block.content) != digest:
            found.append(Finding("VER040", f"the block of {block.name} is not the signed one"))
            continue
        if block.fields["rows"] != batch.rows:
            found.append(Finding("VER033", f"{block.fields['rows']} rows of {block.name}"))
        if sha256(block.ciphertext) != block.fields["ciphertext"]:
            found.append(Finding("VER041", f"the ciphertext of {block.name} is not the signed one"))
    if len({block.name for block in batch.blocks}) < len(batch.blocks):
        found.append(Finding("VER042", "two blocks of one section"))
    return found


def section_keys(batch: Batch, block: Block, secret: bytes) -> SectionKeys:
    """Context and keys of a section."""
    header, fields = batch.header, block.fields
    parts = [
        b"govbridge/v1/context\0",
        u16(header["suite"]),
        header["department"].encode(),
        header["dataset"].encode(),
        u32(header["partition"]),
        u64(header["epoch"]),
        u64(header["sequence"]),
        u8(KINDS.index(header["kind"])),
        fields["name"].encode(),
        fields["schema"],
        header["contract"],
        fields["key_record"],
        u32(fields["rows"]),
        u8(COMPRESSIONS.index(fields["compression"])),
        header["nonce"],
    ]
    ctx0 = b"".join(map(lp, parts))
    ctx = ctx0 + lp(fields["row_root"])
    b = suite.hkdf(secret, b"govbridge/v1/section\0" + sha256(ctx))
    return SectionKeys(
        ctx0,
        ctx,
        sha256(ctx0),
        sha256(ctx),
        suite.hkdf(secret, b"govbridge/v1/salts\0" + sha256(ctx0)),
        b,
        suite.expand(b, b"key\0"),
        suite.expand(b, b"commit\0"),
    )


def padme(length: int) -> int:
    """The padded length of section 6."""
    exponent = length.bit_length() - 1
    if exponent < 1:
        return length
    step = 1 << (exponent - exponent.bit_length())
    return -(-length // step) * step


def _unpadded(plaintext: bytes) -> bytes:
    count = int.from_bytes(plaintext[:4], "big")
    if len(plaintext) < 4 or count > len(plaintext) - 4:
        raise refuse("OPE004", "the content is not in the plaintext")
    if len(plaintext) != max(1024, padme(4 + count)) or any(plaintext[4 + count :]):
        raise refuse("OPE004", "the padding is another than it must be")
    return plaintext[4 : 4 + count]


def _expanded(content: bytes, limit: int) -> bytes:
    if content[:4] != b"\x28\xb5\x2f\xfd":
        raise refuse("OPE005", "not a zstd frame")
    try:
        declared = zstandard.frame_content_size(content)
        if declared < 0:
            raise refuse("OPE005", "a zstd frame without its content size")
        if declared > MAX_CONTENT:
            raise refuse("OPE006", f"an expansion of {declared} bytes")
        if declared > limit:
            raise refuse("OPE013", f"{declared} bytes where {limit} are left")
        expanded = zstandard.ZstdDecompressor().decompress(
            content, read_across_frames=False, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise refuse("OPE005", str(error)) from None
    if len(expanded) != declared:
        raise refuse("OPE005", f"{len(expanded)} bytes where {declared} are declared")
    return expanded


def tree_root(leaves: list[bytes]) -> bytes:
    """The root of RFC 6962's tree over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split_at = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01", tree_root(leaves[:split_at]), tree_root(leaves[split_at:]))


def _with_leaves(rows: list[Row], s: bytes, groups: int) -> tuple[OpenRow, ...]:
    salts = suite.salt_stream(s, len(rows) * (groups + 1))
    opened = []
    for i, row in enumerate(rows):
        salt, *group_salts = salts[i * (groups + 1) : (i + 1) * (groups + 1)]
        head, *pieces, rest = row.pieces
        commitments = [
            sha256(b"\x02", group_salt, u16(j), piece)
            for j, (group_salt, piece) in enumerate(zip(group_salts, pieces, strict=True), 1)
        ]
        leaf = sha256(b"\x00", salt, head, u8(groups), *commitments, rest)
        opened.append(OpenRow(row, salt, tuple(group_salts), leaf))
    return tuple(opened)


def open_section(batch: Batch, section: Section, secret: bytes) -> OpenSection:
    """Opens the section of that name (sections 5 and 6), or Refused."""
    if batch.header["fragment"] is not None:
        raise refuse("OPE013", "a fragment is opened with those before it")
    block, keys, plaintext, content = decrypt(batch, section, secret, MAX_CONTENT)
    return rows_of(section, block, keys, plaintext, content)


def decrypt(
    batch: Batch, section: Section, secret: bytes, limit: int
) -> tuple[Block, SectionKeys, bytes, bytes]:
    """The section's block, keys, plaintext and content, the content of at most so many bytes."""
    block = next((b for b in batch.blocks if b.name == section.name), None)
    if block is None:
        raise refuse("OPE001", f"no section {section.name}")
    keys = section_keys(batch, block, secret)
    if not hmac.compare_digest(keys.commitment, block.fields["commitment"]):
        raise refuse("OPE002", f"the secret does not fit section {section.name}")
    plaintext = suite.aead_open(keys.aead_key, bytes(12), keys.hash_of_ctx, block.ciphertext)
    if plaintext is None:
        raise refuse("OPE003", f"section {section.name} does not decrypt")
    content = _unpadded(plaintext)
    if block.fields["compression"] == "zstd":
        content = _expanded(content, limit)
    elif len(content) > limit:
        raise refuse("OPE013", f"{len(content)} bytes where {limit} are left")
    return block, keys, plaintext, content


def rows_of(
    section: Section, block: Block, keys: SectionKeys, plaintext: bytes, content: bytes
) -> OpenSection:
    """The rows of the content, whose root must be the block's."""
    rows = read_rows(section, content, block.fields["rows"])
    opened = _with_leaves(rows, keys.s, len(section.groups))
    if tree_root([row.leaf for row in opened]) != block.fields["row_root"]:
        raise refuse("OPE008", f"the rows of {section.name} are not the signed ones")
    return OpenSection(section.name, keys, plaintext, content, opened)


def agreement_findings(opened: list[OpenSection]) -> list[Finding]:
    """VER077: row i is another event in one section than in another."""

    def events(section: OpenSection) -> list[tuple[Any, ...]]:
        names = ("operation", "commit", "ordinal", "transaction", "index")
        return [(*(r.row.head[n] for n in names), r.row.key) for r in section.rows]

    return [
        Finding("VER077", f"the rows of {other.name} are other events than those of {opened[0].name}")
        for other in opened[1:]
        if events(other) != events(opened[0])
    ]


def header_findings(batch: Batch, opened: OpenSection) -> list[Finding]:
    """VER077: the rows are other ones than the header says."""
    heads = [row.row.head for row in opened.rows]
    ends = (heads[0]["commit"], heads[0]["ordinal"]), (heads[-1]["commit"], heads[-1]["ordinal"])
    header = batch.header
    if header["kind"] == "snapshot":
        as_of = header["first"]["commit"]
        placed = all(head["operation"] == "read" and head["commit"] == as_of for head in heads)
    else:
        placed = ends == tuple((header[end]["commit"], header[end]["ordinal"]) for end in ("first", "last"))
    rules = {
        "the first and the last row": not placed,
        "the number of truncates": sum(head["operation"] == "truncate" for head in heads)
        != header["truncates"],
    }
    return [
        Finding("VER077", f"{what} are other than the header's") for what, holds in rules.items() if holds
    ]


def contract_findings(batch: Batch, sections: tuple[Section, ...]) -> list[Finding]:
    """VER062: what the blocks say is not what the contract says."""
    if not batch.blocks:
        return []
    if [b.name for b in batch.blocks] != [s.name for s in sections]:
        return [Finding("VER062", "other sections than the contract's")]
    found = []
    for block, section in zip(batch.blocks, sections, strict=True):
        fields = block.fields
        said = fields["schema"], tuple(fields["groups"]), fields["compression"]
        if said != (sha256(section.schema), section.group_names, section.compression):
            found.append(Finding("VER062", f"section {section.name} is another than the contract's"))
    return found
