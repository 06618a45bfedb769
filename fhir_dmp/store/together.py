"""Searches of single dossiers that wait together, read in one command: each gets the rows of its own dossier.

https://www.mongodb.com/docs/manual/reference/operator/query/or/

A row says itself which dossier it is in, and no dossier is twice in one command, so that none is given to another search.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fhir_dmp.store.connection import Connection, Moment
from fhir_dmp.store.vault import COMMON

# Rows without body; more are not read for several searches at once.
MOST_ROWS = 20_000
CLOSED = {"x": 0, "g": 0, "c": 0, "b": 0}


class Wanted(NamedTuple):
    """filter: over the rows of the dossier, which it names. outside: selective tokens that rows outside of dossiers may hold instead."""

    dossier: int
    filter: Mapping[str, Any]
    outside: tuple[int, ...] = ()


class Found(NamedTuple):
    """documents: None when there were too many for all; each search then reads by itself. time: see Moment.

    outside: whether some row outside of dossiers holds one of the tokens; then it must be read too.
    """

    documents: list[dict] | None
    time: int
    outside: bool


async def read_together(connection: Connection, wanted: Sequence[Wanted]) -> list[Found]:
    """One answer for each search, in order."""
    rounds: list[dict[int, Wanted]] = []
    places: list[int] = []
    for each in wanted:
        # The same question about a dossier is asked once, another one in another round.
        at = next((at for at, asked in enumerate(rounds) if asked.get(each.dossier, each).filter == each.filter), len(rounds))
        if at == len(rounds):
            rounds.append({})
        rounds[at].setdefault(each.dossier, each)
        places.append(at)
    tokens = list(dict.fromkeys(token for each in wanted for token in each.outside))
    probe = _outside(connection, tokens, Moment()) if tokens else _nothing()
    outside, *answers = await asyncio.gather(probe, *(_round(connection, asked) for asked in rounds))
    return [
        Found(None if answers[at][0] is None else answers[at][0].get(each.dossier, []), answers[at][1], outside and bool(each.outside))
        for at, each in zip(places, wanted, strict=True)
    ]


async def _round(connection: Connection, asked: Mapping[int, Wanted]) -> tuple[dict[int, list[dict]] | None, int]:
    filters = [each.filter for each in asked.values()]
    command = {
        "find": "resources",
        "filter": filters[0] if len(filters) == 1 else {"$or": filters},
        "projection": CLOSED,
        "limit": MOST_ROWS + 1,
        "batchSize": MOST_ROWS + 1,
        "hint": "dossier",
    }
    moment = Moment()
    documents = await connection.read(command, None, moment)
    if len(documents) > MOST_ROWS:
        return None, moment.time or 0
    found: dict[int, list[dict]] = {}
    for document in documents:
        found.setdefault(document["d"], []).append(document)
    return found, moment.time or 0


async def _nothing() -> bool:
    return False


async def probe_together(connection: Connection, wanted: Sequence[tuple[int, ...]]) -> list[tuple[bool, int]]:
    """For each of several sets of selective tokens whether rows outside of dossiers may hold one, and the moment at which that was so."""
    moment = Moment()
    found = await _outside(connection, list(dict.fromkeys(token for tokens in wanted for token in tokens)), moment)
    return [(found, moment.time or 0)] * len(wanted)


async def _outside(connection: Connection, tokens: list[int], moment: Moment) -> bool:
    command = {
        "find": "resources",
        "filter": {"g": {"$in": tokens}, "d": COMMON},
        "projection": {"_id": 1},
        "limit": 1,
        "singleBatch": True,
        "hint": "selective",
    }
    return bool(await connection.read(command, None, moment))
