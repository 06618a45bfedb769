"""A history without what must not be noticed: the acts of others that concern only what is hidden from one asker.

access-rules 6. What is left is exact: every act left is played as it was, references to what is gone taken out.
"""

from dataclasses import replace

from tests.worlds.histories import Play, Step
from tests.worlds.opening import HOLDER_THERE, TRAITANT_THERE, Dossier
from tests.worlds.people import HOLDERS

# Who sees what others did; and who sees that of acts about access alone.
WATCHING = (*HOLDERS, "traitant", HOLDER_THERE)
MANAGING = "mandataire"
REPRESENTING = ("parent", MANAGING)
# What everybody may notice: what a history begins with, and that two dossiers are one.
COMMON = ("setup", "join")
# Of a dossier that is open to him in nothing, a professional or structure may notice that it is there and open: that is asked by TD0.2.
EXISTENCE = ("open", "life")
TESTING = ("professional", "structure")
# What depends on no right to read.
FREE = frozenset({"deposit", "read", "search", "break"})


def purged(play: Play) -> list[Step]:
    """The steps of world B, with the requests to be sent there in `call`."""
    asker, hidden = play.asker.of or play.asker.name, hidden_from(play)
    watching = asker in WATCHING or _became_traitant(play) or (asker == TRAITANT_THERE and len(play.dossiers) > 1)
    strange = _strange(play)
    own = frozenset() if watching or asker == MANAGING else _authored_alone(play, asker)
    kept = []
    for step in play.steps:
        if play.is_asker(step.by):
            gone = False
        elif step.dossier in strange and step.kind not in COMMON:
            gone = not _noticed(play, step, hidden)
        else:
            gone = _gone(play, step, asker, hidden, watching, own)
        if not gone:
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


def _strange(play: Play) -> frozenset[Dossier]:
    """Dossiers that were never open to the asker in anything, nor joined to one that was: nobody is told what happens there."""
    if any(step.kind == "join" for step in play.steps):
        return frozenset()
    others = play.dossiers[:1] if play.asker.name == HOLDER_THERE else play.dossiers[1:]
    return frozenset(others) - play.entered


def _noticed(play: Play, step: Step, hidden: frozenset[int]) -> bool:
    """Whether he may notice an act of others in such a dossier: what is said of him, or of everybody in an emergency, and what he himself
    could replace.
    """
    if not step.done or play.asker.kind not in TESTING:
        return False
    if step.kind in EXISTENCE:
        return True
    if step.lineage is not None:
        return step.lineage not in hidden
    return step.kind == "consent" and (not step.about or any(play.is_asker(name) for name in step.about))


def _gone(play: Play, step: Step, asker: str, hidden: frozenset[int], watching: bool, own: frozenset[int]) -> bool:
    if step.kind in COMMON:
        return False
    if step.lineage is not None and step.lineage in hidden:
        return True
    if step.kind == "lot" and step.leads <= hidden:
        return True
    if _in_secret(play, step, asker):
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


def _in_secret(play: Play, step: Step, asker: str) -> bool:
    """Whether it is about a right that a minor gave in a secret session to one who has others: who represents him is not told of it."""
    given = {one.right for one in play.steps if one.by == "secret" and one.kind == "consent" and one.call.method == "POST"}
    if not play.story.minor or asker not in REPRESENTING or step.right not in given - {""}:
        return False
    return not any(one.kind in ("team", "person") and one.done for one in play.steps)


def _became_traitant(play: Play) -> bool:
    return any(
        step.kind in ("consent", "declare")
        and any(play.is_asker(name) for name in step.about)
        and (step.kind == "declare" or "administrator" in step.call.body.decode())
        for step in play.steps
    )


def _authored_alone(play: Play, asker: str) -> frozenset[int]:
    """Lineages of which the asker is the author of every document: no mask changes what he sees of them, nor does he know of one."""
    by: dict[int, set[str]] = {}
    for one in play.documents:
        by.setdefault(one.lineage, set()).add(one.by)
    return frozenset(lineage for lineage, names in by.items() if all(play.same(name, asker) for name in names))
