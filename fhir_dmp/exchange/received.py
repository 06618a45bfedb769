"""Seals of the messages that an import brings, verified before anything of them is parsed.

https://www.rfc-editor.org/rfc/rfc7515#appendix-F ; see signing.message

A Bundle may carry its seal in Bundle.signature, a file may have one beside it in FILE.jws, what comes by $import has it in the header.
"""

import asyncio
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange.inputs import LARGEST, Input, Item, items
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Settings
from fhir_dmp.signing import jws
from fhir_dmp.signing.message import Signers, wrong
from fhir_dmp.signing.seal import Message

SUFFIX = ".jws"


@lru_cache(maxsize=4)
def signers(settings: Settings) -> Signers:
    """Whose seals these settings trust."""
    return Signers(settings.message_signers, settings.message_seal_required, settings.jwks_seconds)


async def message_of(context: Context, rules: Rules, item: Item) -> Message | None:
    """Who sealed the message that an item is, or came in; None for nobody. 422 for a seal that is wrong, or absent where it must be."""
    trusted = signers(context.settings)
    if rules.plain or not trusted.trusted or item.fault is not None:
        return None
    if item.sealed:
        return Message(signer=item.sealed[0], kid=item.sealed[1])
    found = await trusted.check("", item.body, True, now_ms=context.now_ms(), **_sender(context, rules))
    return found.sender


class Files:
    """Reads the files of an import, those with a seal beside them only once it was verified."""

    def __init__(self, seals: dict[Input, tuple[str, str] | FhirError]) -> None:
        self._seals = seals

    @classmethod
    async def checked(cls, context: Context, rules: Rules, listed: Iterable[Input]) -> "Files":
        """With the seals of these files verified."""
        found: dict[Input, tuple[str, str] | FhirError] = {}
        if not rules.plain and signers(context.settings).trusted:
            for one in listed:
                beside = one.path.with_name(one.path.name + SUFFIX)
                if beside.is_file():
                    try:
                        found[one] = await _verified(context, rules, one.path, beside)
                    except FhirError as error:
                        found[one] = error
        return cls(found)

    def items(self, source: Input) -> Iterator[Item]:
        """The resources of one file; of one whose seal is wrong nothing is read."""
        said = self._seals.get(source)
        if isinstance(said, FhirError):
            yield Item(source.name, b"", source.size, said)
        elif said is None:
            yield from items(source)
        else:
            yield from (item._replace(sealed=said) for item in items(source))


async def _verified(context: Context, rules: Rules, path: Path, beside: Path) -> tuple[str, str]:
    body, text = await asyncio.to_thread(_read, path, beside)
    found = await signers(context.settings).check(text or ".", body, False, now_ms=context.now_ms(), **_sender(context, rules))
    return found.signer, found.kid


def _read(path: Path, beside: Path) -> tuple[bytes, str]:
    if path.stat().st_size > LARGEST:
        raise wrong(f"a file with a seal may take {LARGEST} bytes")
    if beside.stat().st_size > jws.MOST:
        raise wrong("not a compact JWS")
    return path.read_bytes(), beside.read_text("ascii", "replace").strip()


def _sender(context: Context, rules: Rules) -> dict:
    speaks_for = (context.actor.organization, context.actor.host, rules.host, rules.source)
    return {"kind": context.actor.kind, "speaks_for": tuple(one for one in speaks_for if one)}
