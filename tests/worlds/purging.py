"""A history without what must not be noticed: the acts of others that concern only what is hidden from one asker.

access-rules 6. What is left is exact: every act left is played as it was, references to what is gone taken out.
"""

from dataclasses import replace

from tests.worlds.histories import Play, Step
from tests.worlds.people import HOLDERS

# Who sees what others did; and who sees that of acts about access alone.
WATCHING = (*HOLDERS, "traitant")
MANAGING = "mandataire"
# What depends on no right to read.
FREE = frozenset({"deposit", "read", "search", "break"})


def purged(play: Play) -> list[Step]:
    """The steps of world B, with the requests to be sent there in `call`."""
    asker, hidden = play.asker.name, hidden_from(play)
    watching = asker in WATCHING or _became_traitant(play, asker)
    own = frozenset() if watching or asker == MANAGING else _authored_alone(play, asker)
    kept = []
    for step in play.steps:
        if play.is_asker(step.by) or not _gone(play, step, asker, hidden, watching, own):
            kept.append(replace(step, call=step.without(hidden)) if step.without is not None else step)
    return kept


def hidden_from(play: Play) -> frozenset[int]:
    """Lineages of which the asker never saw anything and sees nothing at the end, nor wrote anything himself.

    A structure replaces what was deposited from it, so that is not hidden from it. A submission whose list names something else that he
    sees concerns that too.
    """
    asker = play.asker

    def wrote(name: str) -> bool:
        house = play.cast[name].organization
        return play.is_asker(name) or (asker.kind == "structure" and house == asker.organization)

    hidden = frozenset(range(play.lineages)) - play.seen - {one.lineage for one in play.documents if wrote(one.by)}
    while beside := {step.lineage for step in play.steps if not step.call.path and step.lineage in hidden and step.leads - hidden}:
        hidden -= beside
    return hidden


def _gone(play: Play, step: Step, asker: str, hidden: frozenset[int], watching: bool, own: frozenset[int]) -> bool:
    if step.kind == "setup":
        return False
    if step.lineage is not None and step.lineage in hidden:
        return True
    if watching:
        return False
    if step.kind in ("read", "search") or not step.done:
        return True
    if asker == MANAGING:
        return False
    if step.kind == "label" and step.lineage in own:
        return True
    if step.kind == "rule":
        return step.lineage is not None and step.lineage in own
    if step.kind == "break":
        return _free(play, step.by)
    if step.kind == "consent":
        return bool(step.about) and not any(play.is_asker(name) for name in step.about) and all(_free(play, name) for name in step.about)
    return False


def _free(play: Play, name: str) -> bool:
    """Whether what somebody did could be done by anybody, whatever he may read."""
    return all(step.kind in FREE and not step.leads for step in play.steps if play.same(step.by, name) and step.done)


def _became_traitant(play: Play, asker: str) -> bool:
    return any(
        step.kind == "consent" and any(play.is_asker(name) for name in step.about) and "administrator" in step.call.body.decode()
        for step in play.steps
    )


def _authored_alone(play: Play, asker: str) -> frozenset[int]:
    """Lineages of which the asker is the author of every document: no mask changes what he sees of them, nor does he know of one."""
    by: dict[int, set[str]] = {}
    for one in play.documents:
        by.setdefault(one.lineage, set()).add(one.by)
    return frozenset(lineage for lineage, names in by.items() if all(play.same(name, asker) for name in names))
