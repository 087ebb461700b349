"""The trust file (docs/spec/trust.md)."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Any

from . import ed25519, note
from .avro import DEPARTMENT, ORIGIN
from .finding import Finding, raise_if, refuse
from .wire import ED25519, ROLES, X25519, key_id, sha256

MAX_NOTE = 65_536
MAX_TEXT = 64_512
DOMAIN = re.compile(r"[a-z0-9][a-z0-9.-]*\Z")
REQUIRED: dict[str, dict[str, type]] = {
    "": {"domain": str, "version": int, "threshold": int},
    "policy": {"quorum": int, "liars": int},
    "root": {"key": str},
    "department": {"name": str, "title": str},
    "signing": {"key": str, "origin": str, "from_index": int},
    "recipient": {"key": str},
    "operator": {"key": str},
    "log": {"origin": str, "department": str, "vkey": str, "url": str},
    "witness": {"name": str, "department": str, "vkey": str, "url": str, "checking": bool},
}
OPTIONAL: dict[str, dict[str, type]] = {
    "": {
        "govbridge_trust": int,
        "previous": str,
        "policy": dict,
        "root": list,
        "department": list,
        "log": list,
        "witness": list,
    },
    "department": {"signing": list, "recipient": list, "operator": list},
    "signing": {"until_index": int},
}


@dataclass(frozen=True)
class Trust:
    """A version of the trust file whose section 3 holds."""

    content: dict[str, Any]
    digest: bytes
    text: str
    signed: note.Note

    @property
    def version(self) -> int:
        """The version's number."""
        number: int = self.content["version"]
        return number

    @property
    def roots(self) -> list[note.VerifierKey]:
        """The root keys."""
        return [note.verifier_key(root["key"]) for root in self.content.get("root", [])]


def read(content: bytes) -> Trust:
    """The file with sections 1 to 3 checked, no signature verified."""
    trust = _parse(content)
    _shape(trust.content)
    raise_if(_rule_findings(trust.content))
    return trust


def verify(
    content: bytes,
    pin: bytes,
    before: Trust | None = None,
    remembered: tuple[int, bytes] | None = None,
) -> Trust:
    """The verified version (section 4), or Refused."""
    trust = _parse(content)
    if before is None and trust.digest != pin:
        raise refuse("TRU006", f"version 1 has the digest {trust.digest.hex()}")
    _shape(trust.content)
    raise_if(_rule_findings(trust.content))
    if before is None and trust.version != 1:
        raise refuse("TRU006", f"the pinned file is version {trust.version}")
    if before is not None:
        _follow(trust, before)
    _signatures(trust, before or trust)
    if remembered is not None:
        if trust.version < remembered[0]:
            raise refuse("TRU007", f"version {trust.version} after {remembered[0]}")
        if trust.version == remembered[0] and trust.digest != remembered[1]:
            raise refuse("TRU008", f"another version {trust.version} than the remembered one")
    return trust


def _parse(content: bytes) -> Trust:
    if len(content) > MAX_NOTE:
        raise refuse("TRU001", f"a note of {len(content)} bytes")
    try:
        signed = note.parse(content)
    except note.NotANote as reason:
        raise refuse("TRU001", str(reason)) from None
    text = signed.text.encode()
    if len(text) > MAX_TEXT:
        raise refuse("TRU001", f"a text of {len(text)} bytes")
    try:
        toml = tomllib.loads(signed.text)
    except tomllib.TOMLDecodeError as reason:
        toml = {"": str(reason)}
    return Trust(toml, sha256(text), signed.text, signed)


def _shape(toml: dict[str, Any]) -> None:
    """Keys and types (section 2), the format first."""
    if "" in toml:
        raise refuse("TRU002", f"not TOML: {toml['']}")
    form = toml.get("govbridge_trust")
    if not isinstance(form, int) or isinstance(form, bool):
        raise refuse("TRU002", "govbridge_trust is missing or no integer")
    if form != 1:
        raise refuse("TRU003", f"format {form}")
    found = _table("", toml, "")
    if isinstance(toml.get("policy"), dict):
        found += _table("policy", toml["policy"], "policy")
    for kind in ("root", "department", "log", "witness"):
        found += _tables(kind, toml.get(kind, []), kind)
    raise_if(Finding("TRU002", what) for what in found)


def _tables(kind: str, tables: Any, place: str) -> list[str]:
    found: list[str] = []
    for index, table in enumerate(tables if isinstance(tables, list) else [], 1):
        if not isinstance(table, dict):
            found.append(f"{place}[{index}] is no table")
            continue
        found += _table(kind, table, f"{place}[{index}]")
        if kind == "department":
            for inner in ("signing", "recipient", "operator"):
                found += _tables(inner, table.get(inner, []), f"{place}[{index}].{inner}")
    return found


def _table(kind: str, table: dict[str, Any], place: str) -> list[str]:
    required, optional = REQUIRED[kind], OPTIONAL.get(kind, {})
    found = [f"{place}.{key} is missing" for key in required if key not in table]
    for key, value in table.items():
        wanted = required.get(key, optional.get(key))
        if wanted is None:
            found.append(f"{place}.{key} is not known")
        elif wanted is int:
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                found.append(f"{place}.{key} is no number from 0")
        elif not isinstance(value, wanted):
            found.append(f"{place}.{key} is of another type")
    return found


class _Rules:
    """Gathers the findings of section 3."""

    def __init__(self, toml: dict[str, Any]) -> None:
        self.toml = toml
        self.found: list[Finding] = []
        self.departments: list[dict[str, Any]] = toml.get("department", [])
        self.logs: list[dict[str, Any]] = toml.get("log", [])
        self.witnesses: list[dict[str, Any]] = toml.get("witness", [])
        self.publics: list[bytes] = []
        self.root_names: list[str] = []

    def need(self, holds: bool, code: str, what: str) -> None:
        """A finding when it does not hold."""
        if not holds:
            self.found.append(Finding(code, what))

    def key_line(self, line: str, department: str, role: str) -> None:
        """Rule 3 for a key line."""
        algorithm = X25519 if role == "recipient" else ED25519
        name, _, rest = line.partition("+")
        digits, _, encoded = rest.partition("+")
        try:
            content = note.unbase64(encoded)
        except note.NotANote:
            content = b""
        public = content[2:]
        proper = ed25519.is_proper_x25519 if role == "recipient" else ed25519.is_proper_point
        self.need(
            name == f"{department}/{role}"
            and len(content) == 34
            and int.from_bytes(content[:2], "big") == algorithm
            and key_id(ROLES[role], algorithm, public).hex()[:8] == digits
            and proper(public),
            "TRU012",
            f"the {role} key {line!r} of {department}",
        )
        self.publics.append(public)

    def vkey(self, text: str, kind: int, name: str | None) -> None:
        """Rule 3 for a vkey."""
        try:
            key = note.verifier_key(text)
        except note.NotANote as reason:
            self.need(False, "TRU012", str(reason))
            return
        self.need(key.kind == kind and name in (None, key.name), "TRU012", f"the vkey {text!r}")
        self.publics.append(key.public)
        if name is None:
            self.root_names.append(key.name)

    def origin(self, origin: str, department: str) -> None:
        """Rules 2 and 5 for an origin."""
        well_formed = len(origin.encode()) <= 255 and ORIGIN.match(origin) is not None
        self.need(well_formed, "TRU011", f"the origin {origin!r}")
        if well_formed:
            begin = f"{self.toml['domain']}/{department}/"
            self.need(origin.startswith(begin), "TRU014", f"the origin {origin} of {department}")


def _rule_findings(toml: dict[str, Any]) -> list[Finding]:
    rules = _Rules(toml)
    rules.need(
        toml["version"] >= 1 and ("previous" in toml) == (toml["version"] > 1),
        "TRU010",
        "version and previous do not agree",
    )
    rules.need(DOMAIN.match(toml["domain"]) is not None, "TRU011", f"the domain {toml['domain']!r}")
    _entries(rules)
    names = {
        "departments": [d["name"] for d in rules.departments],
        "logs": [log["origin"] for log in rules.logs],
        "witnesses": [w["name"] for w in rules.witnesses],
        "root keys": rules.root_names,
    }
    for what, listed in names.items():
        rules.need(len(set(listed)) == len(listed), "TRU011", f"a name twice in {what}")
    rules.need(len(set(rules.publics)) == len(rules.publics), "TRU013", "a public key stands twice")
    roots = len(toml.get("root", []))
    rules.need(1 <= toml["threshold"] <= roots, "TRU016", f"{toml['threshold']} of {roots} roots")
    _policy(rules)
    return rules.found


def _entries(rules: _Rules) -> None:
    for root in rules.toml.get("root", []):
        rules.vkey(root["key"], note.PLAIN_ED25519, None)
    for department in rules.departments:
        name = department["name"]
        rules.need(
            len(name) <= 64 and DEPARTMENT.match(name) is not None, "TRU011", f"the department {name!r}"
        )
        rules.need(_is_text(department["title"]), "TRU011", f"the title of {name}")
        for signing in department.get("signing", []):
            rules.key_line(signing["key"], name, "signing")
            rules.origin(signing["origin"], name)
            until = signing.get("until_index")
            rules.need(until is None or signing["from_index"] < until, "TRU015", f"a signing key of {name}")
        for role in ("recipient", "operator"):
            for key in department.get(role, []):
                rules.key_line(key["key"], name, role)
    known = {d["name"] for d in rules.departments}
    for log in rules.logs:
        rules.need(log["department"] in known, "TRU014", f"the department of log {log['origin']}")
        rules.origin(log["origin"], log["department"])
        rules.vkey(log["vkey"], note.PLAIN_ED25519, log["origin"])
        rules.need(_is_text(log["url"]), "TRU011", f"the URL of log {log['origin']}")
    for witness in rules.witnesses:
        rules.need(witness["department"] in known, "TRU014", f"the department of {witness['name']}")
        rules.vkey(witness["vkey"], note.COSIGNATURE, witness["name"])
        rules.need(_is_text(witness["url"]), "TRU011", f"the URL of {witness['name']}")


def _is_text(text: str) -> bool:
    return 1 <= len(text.encode()) <= 512 and not any(unicodedata.category(c) == "Cc" for c in text)


def _policy(rules: _Rules) -> None:
    checking = Counter(w["department"] for w in rules.witnesses if w["checking"])
    rules.need(all(n == 1 for n in checking.values()), "TRU019", "two checking witnesses of a department")
    policy: dict[str, int] | None = rules.toml.get("policy")
    if policy is None:
        return
    for log in rules.logs:
        count = sum(n for department, n in checking.items() if department != log["department"])
        quorum, liars = policy["quorum"], policy["liars"]
        rules.need(quorum <= count, "TRU018", f"{quorum} of {count} witnesses of {log['origin']}")
        rules.need(2 * quorum - count > liars, "TRU017", f"{liars} liars can split {log['origin']}")


def _follow(trust: Trust, before: Trust) -> None:
    """Section 4, step 3."""
    if trust.version < before.version:
        raise refuse("TRU007", f"version {trust.version} after {before.version}")
    if trust.version == before.version:
        if trust.digest != before.digest:
            raise refuse("TRU008", f"another version {trust.version}")
        return
    if trust.version > before.version + 1:
        raise refuse("TRU009", f"version {trust.version} after {before.version}")
    if trust.content["previous"] != before.digest.hex():
        raise refuse("TRU010", "previous is not the digest of the version before")
    if trust.content["domain"] != before.content["domain"]:
        raise refuse("TRU010", f"the domain {trust.content['domain']}")


def _signatures(trust: Trust, by: Trust) -> None:
    """Section 4, step 4, with roots and threshold of `by`."""
    roots = {(root.name, root.key_id): root for root in by.roots}
    signed = set()
    for line in trust.signed.lines:
        root = roots.get((line.name, line.key_id))
        if root is None:
            continue
        if not ed25519.verify(root.public, trust.text.encode(), line.signature):
            raise refuse("TRU005", f"the signature of {line.name} does not verify")
        signed.add(root.public)
    if len(signed) < by.content["threshold"]:
        raise refuse("TRU004", f"{len(signed)} of {by.content['threshold']} root keys signed")
