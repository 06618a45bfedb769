"""Searches of single dossiers that wait together, read in one command: each gets the rows of its own dossier.

https://www.mongodb.com/docs/manual/reference/operator/query/or/

A row says itself which dossier it is in, and no dossier is twice in one command, so that none is given to another search.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fhir_dmp.store.connection import Connection, Moment
from fhir_dmp.store.vault import COMMON

# Rows without body; more are not read for several searches at once.
MOST_ROWS = 20_000
# Rows that are read with their bodies for one search: most dossiers are small, and then nothing is read twice.
MOST_WHOLE = 50
# Dossiers of which that is known not to be so.
_KEPT = 20_000
CLOSED = {"x": 0, "g": 0, "c": 0, "b": 0}
WHOLE = {"x": 0, "g": 0, "c": 0}


class Wanted(NamedTuple):
    """filter: over the rows of the dossier, which it names. outside: selective tokens that rows outside of dossiers may hold instead.

    whole: with their bodies, if the dossier is small.
    """

    dossier: int
    filter: Mapping[str, Any]
    outside: tuple[int, ...] = ()
    whole: bool = False


class Found(NamedTuple):
    """documents: None when there were too many for all; each search then reads by itself. time: see Moment.

    outside: whether some row outside of dossiers holds one of the tokens; then it must be read too. whole: their bodies are there.
    """

    documents: list[dict] | None
    time: int
    outside: bool
    whole: bool = False


class Large:
    """Dossiers that turned out to be large. A guess, which decides nothing but whether bodies are read at once or afterwards."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, None] = OrderedDict()

    def __contains__(self, dossier: int) -> bool:
        return dossier in self._known

    def learn(self, dossiers: Iterable[int]) -> None:
        """Remember these."""
        self._known.update(dict.fromkeys(dossiers))
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)


async def read_together(connection: Connection, large: Large, wanted: Sequence[Wanted]) -> list[Found]:
    """One answer for each search, in order."""
    rounds: list[dict[int, Wanted]] = []
    places: list[int] = []
    for each in wanted:
        # The same question about a dossier is asked once, another one in another round; bodies are not read beside what does without.
        asked = (at for at, one in enumerate(rounds) if _fits(one, each))
        at = next(asked, len(rounds))
        if at == len(rounds):
            rounds.append({})
        rounds[at].setdefault(each.dossier, each)
        places.append(at)
    tokens = list(dict.fromkeys(token for each in wanted for token in each.outside))
    if tokens or len(rounds) > 1:
        probe = _outside(connection, tokens, Moment()) if tokens else _nothing()
        outside, *answers = await asyncio.gather(probe, *(_round(connection, large, asked) for asked in rounds))
    else:
        outside, answers = False, [await _round(connection, large, rounds[0])]
    result = []
    for at, each in zip(places, wanted, strict=True):
        found = answers[at]
        rows = None if found.rows is None else found.rows.get(each.dossier, [])
        result.append(Found(rows, found.time, outside and bool(each.outside), found.whole))
    return result


def _fits(asked: Mapping[int, Wanted], each: Wanted) -> bool:
    same = asked.get(each.dossier)
    return same.filter == each.filter and same.whole == each.whole if same is not None else next(iter(asked.values())).whole == each.whole


class _Answers(NamedTuple):
    """rows: documents by dossier."""

    rows: dict[int, list[dict]] | None
    time: int
    whole: bool = False


async def _round(connection: Connection, large: Large, asked: Mapping[int, Wanted]) -> _Answers:
    filters = [each.filter for each in asked.values()]
    command = {"find": "resources", "filter": filters[0] if len(filters) == 1 else {"$or": filters}, "hint": "dossier"}
    moment = Moment()
    if whole := next(iter(asked.values())).whole:
        most = MOST_WHOLE * len(asked) + 1
        documents = await connection.read_once({**command, "projection": WHOLE, "limit": most, "batchSize": most}, moment)
        if documents is not None and len(documents) < most:
            return _Answers(_by_dossier(documents), moment.time or 0, whole=True)
    documents = await connection.read({**command, "projection": CLOSED, "limit": MOST_ROWS + 1, "batchSize": MOST_ROWS + 1}, None, moment)
    if len(documents) > MOST_ROWS:
        large.learn(asked)
        return _Answers(None, moment.time or 0)
    found = _by_dossier(documents)
    if whole:
        large.learn([dossier for dossier, rows in found.items() if len(rows) > MOST_WHOLE or len(asked) == 1])
    return _Answers(found, moment.time or 0)


def _by_dossier(documents: Sequence[dict]) -> dict[int, list[dict]]:
    found: dict[int, list[dict]] = {}
    for document in documents:
        found.setdefault(document["d"], []).append(document)
    return found


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
