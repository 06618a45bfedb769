"""The life of a dossier within a history: closed and opened again, lost and recovered, given away and returned, ended by a death.

contract 5, Patient/[id]/$close and $reactivate; access-rules 4
"""

from typing import TYPE_CHECKING

from hypothesis import strategies

from tests.access import world as making
from tests.worlds.deeds import Deed, drawn
from tests.worlds.joining import ADMIN

if TYPE_CHECKING:
    from tests.worlds.histories import Play

HOST = "host"
# What becomes of it, act by act: by whom ("" for who has it), the operation and its reason. Most open it again: of a closed one little
# is told.
TURNS = (
    (("", "$close", "holder-request"), ("", "$reactivate", "holder-request")),
    ((ADMIN, "$close", "rights-lost"), (ADMIN, "$reactivate", "rights-recovered")),
    ((HOST, "$close", "transfer"), (HOST, "$reactivate", "transfer")),
    (("", "$close", "holder-request"),),
    (("", "$reactivate", "holder-request"),),
    ((ADMIN, "$close", "rights-lost"),),
    (("", "$close", "holder-request"), ("", "$reactivate", "holder-request")),
    ((ADMIN, "$close", "deceased"),),
    # Closed by who has it, or by the host, and opened again it is what it was: rights that were lost are not back.
    ((ADMIN, "$close", "rights-lost"), ("", "$close", "holder-request"), ("", "$reactivate", "holder-request")),
    (
        *((ADMIN, "$close", "rights-lost"), (HOST, "$close", "transfer"), (HOST, "$reactivate", "transfer")),
        (ADMIN, "$reactivate", "rights-recovered"),
    ),
)

life = drawn("life", ("holder", "parent"), len(TURNS), strategies.booleans())


class Life:
    """Deeds of a Play."""

    async def _life(self: "Play", deed: Deed, number: int) -> None:
        for by, operation, reason in TURNS[deed.how]:
            by = by or deed.by
            await self.act(by, "life", self.call(by, "POST", f"{self.here.path}/{operation}", making.parameters(reason=reason)))
