"""What an invented history is made of: single acts as they are drawn, and those who do them."""

from typing import NamedTuple

from hypothesis import strategies


class Deed(NamedTuple):
    """One act as it is drawn. on: which of the documents or persons there are. how: which variant. there: in the second dossier."""

    kind: str
    by: str
    on: int
    how: int
    there: bool = False


class Story(NamedTuple):
    """A history: of whom, what happens, and who asks at the end. sealed: what is written is sealed; then no document refers to another."""

    minor: bool
    deeds: list[Deed]
    asker: str
    sealed: bool = False


def drawn(kind: str, by: tuple[str, ...], variants: int, there: strategies.SearchStrategy | None = None) -> strategies.SearchStrategy[Deed]:
    """Deeds of one kind, by one of these. there: whether in the second dossier, never unless it says so."""
    return strategies.builds(
        Deed,
        strategies.just(kind),
        strategies.sampled_from(by),
        strategies.integers(0, 4),
        strategies.integers(0, variants - 1),
        there if there is not None else strategies.just(False),
    )
