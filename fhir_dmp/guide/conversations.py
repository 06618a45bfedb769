"""Conversations with the server, as data: requests in the `.http` notation, who makes them, what is expected of the answers.

https://www.jetbrains.com/help/idea/exploring-http-syntax.html : requests parted by `###`, `# @word value` before them, {{name}} for values.
"""

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

NOTE = re.compile(r"#\s*@(\w+)\s+(.*)")
SLOT = re.compile(r"\{\{(\w+)\}\}")
# What is not below the FHIR base.
OUTSIDE = ("/health", "/auth", "/ig", "/metrics", "/journal")
STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
CONDITION = re.compile(r"(?P<path>\S+)\s+(?P<sign>=|!=|~|lacks|absent|present)\s*(?P<value>.*)")


class Broken(Exception):
    """A conversation that cannot be read, or did not go as it says; the message names file and exchange."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request. who: name of a person of people.json, "" for nobody. expect: status.

    patience: seconds to ask again while the answer is another one. run: commands of `fhir-dmp` before it.

    keep: (name, path or header, pattern). check: (path, sign, value). title: language -> what happens, in a sentence.
    body: text with slots, "" for none.
    """

    name: str
    file: str
    method: str
    path: str
    who: str = ""
    title: dict[str, str] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    expect: int = 200
    patience: int = 0
    keep: tuple[tuple[str, str, str], ...] = ()
    check: tuple[tuple[str, str, str], ...] = ()
    run: tuple[str, ...] = ()

    @property
    def outside(self) -> bool:
        """Whether it is asked beside the FHIR base."""
        return self.path.startswith(OUTSIDE)

    def filled(self, values: dict[str, str]) -> "Exchange":
        """With every slot filled; the title too."""
        return replace(
            self,
            path=fill(self.path, values, self),
            headers=tuple((name, fill(value, values, self)) for name, value in self.headers),
            body=fill(self.body, values, self),
            check=tuple((path, sign, fill(value, values, self)) for path, sign, value in self.check),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. body: as text; "" for none."""

    status: int
    reason: str
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> object:
        return json.loads(self.body) if "json" in self.headers.get("content-type", "") and self.body else None


def fill(text: str, values: dict[str, str], exchange: Exchange) -> str:
    """Text with the values of its slots."""

    def one(found: re.Match) -> str:
        if found[1] not in values:
            raise Broken(f"{exchange.file}, {exchange.name}: nothing is known as {found[1]}")
        return values[found[1]]

    return SLOT.sub(one, text)


def read(path: Path) -> list[Exchange]:
    """The exchanges of one file, in order."""
    parts = re.split(r"^###[ \t]*(\S*)[ \t]*$", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return [exchange(path, name, text) for name, text in zip(parts[::2], parts[1::2], strict=True)]


def exchange(path: Path, name: str, text: str) -> Exchange:
    """One part of a file.

    # @as PERSON · # @fr, # @en TITLE · # @expect STATUS · # @patience SECONDS ·
    # @run COMMAND of fhir-dmp, may end in `> FILE` · # @keep NAME PATH [PATTERN], PATH may be body or header:NAME
    # @check PATH =|!=|~|lacks|absent|present VALUE
    """
    lines = text.strip("\n").split("\n")
    made: dict = {"title": {}, "keep": [], "check": [], "run": []}
    while lines and (not lines[0].strip() or lines[0].startswith("#")):
        if not (note := NOTE.match(lines.pop(0))):
            continue
        word, value = note[1], note[2].strip()
        if word == "as":
            made["who"] = value
        elif word in ("fr", "en"):
            made["title"][word] = value
        elif word in ("expect", "patience"):
            made[word] = int(value)
        elif word == "run":
            made["run"].append(value)
        elif word == "keep":
            made["keep"].append(tuple([*value.split(maxsplit=2), ""][:3]))
        elif word == "check" and (found := CONDITION.fullmatch(value)):
            made["check"].append((found["path"], found["sign"], found["value"].strip()))
        else:
            raise Broken(f"{path.name}, {name}: `@{word} {value}` means nothing here")
    if not name or not lines:
        raise Broken(f"{path.name}: an exchange without name or request")
    method, _, target = lines.pop(0).strip().partition(" ")
    headers = []
    while lines and lines[0].strip():
        header, _, value = lines.pop(0).partition(":")
        headers.append((header.strip(), value.strip()))
    body = "\n".join(lines).strip()
    if body.startswith("< "):
        body = (path.parent / body[2:].strip()).read_text("utf-8").strip()
    made |= {name: tuple(made[name]) for name in ("keep", "check", "run")}
    # `POST /` is a transaction or batch, sent to the base itself.
    target = "" if target.strip() == "/" else target.strip()
    return Exchange(name, path.name, method, target, headers=tuple(headers), body=body, **made)


def at(value: object, path: str) -> object:
    """What stands at a path of JSON; None for nothing.

    >>> at({"entry": [{"resource": {"id": "a"}}]}, "entry[0].resource.id")
    'a'
    >>> at({"total": 0}, "entry.count()"), at({"entry": [1, 2]}, "entry.count()")
    (0, 2)
    """
    if path.endswith(".count()"):
        found = at(value, path.removesuffix(".count()"))
        return len(found) if isinstance(found, list) else int(found is not None)
    for member, index in STEP.findall(path):
        if member and isinstance(value, dict):
            value = value.get(member)
        elif index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            return None
    return value


def kept(asked: Exchange, answer: Answer) -> dict[str, str]:
    """Values that the exchange keeps for those after it."""
    found = {}
    for name, path, pattern in asked.keep:
        value = answer.body if path == "body" else at(answer.json, path)
        if path.startswith("header:"):
            value = answer.headers.get(path.removeprefix("header:").lower())
        match = re.search(pattern or "(.+)", str(value)) if value is not None else None
        if not match:
            raise Broken(f"{asked.file}, {asked.name}: the answer has no `{path}` to keep as {name}: {answer.body[:600]}")
        found[name] = match[1]
    return found


def examine(asked: Exchange, answer: Answer) -> None:
    """Raise Broken unless the answer is the one expected."""
    where = f"{asked.file}, {asked.name}"
    if answer.status != asked.expect:
        raise Broken(f"{where}: {answer.status} instead of {asked.expect}: {answer.body[:2000]}")
    for path, sign, expected in asked.check:
        value = answer.body if path == "body" else at(answer.json, path)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        held = {
            "=": text == expected,
            "!=": text != expected,
            "~": re.search(expected, text) is not None,
            "lacks": expected not in text,
            "absent": value is None,
            "present": value is not None,
        }[sign]
        if not held:
            raise Broken(f"{where}: `{path}` is {text[:300]}, expected {sign} {expected}")
