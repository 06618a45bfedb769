"""What the asker may see, as it joins a search: a filter over rows, and the same over one row.

IHE PCF, residual of a consent decision: https://profiles.ihe.net/ITI/PCF/
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_dmp.store.rows import Row

if TYPE_CHECKING:
    from fhir_dmp.interactions.enforcement import Known


def _no_filter(type_name: str | None) -> dict:
    return {}


def _every_row(row: Row) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Sight:
    """filter: type, or None for every type -> MongoDB filter over the fields of a row that tell who may see it, {} for no restriction.

    sees: the same decision on a row as it is now; rows that were not read through the filter are asked.
    A search joins both to everything it reads: matches, what chains go through, what is included. met: the dossier as the asker meets it,
    for how its resources are shown to him; None where no rule says anything.
    """

    filter: Callable[[str | None], dict] = _no_filter
    sees: Callable[[Row], bool] = _every_row
    met: "Known | None" = None


UNRESTRICTED = Sight()
