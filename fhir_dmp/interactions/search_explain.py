"""How a search was done: what `X-Explain: true` is answered.

https://www.mongodb.com/docs/manual/reference/explain-results/

Nothing of it tells what is stored: names of indexes and types, and numbers.
"""

from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_pages import Page
from fhir_dmp.interactions.search_plan import Plan
from fhir_dmp.interactions.search_rows import BATCH, limits_of
from fhir_dmp.interactions.search_stretch import Stretch
from fhir_dmp.search.paging import Cursor
from fhir_dmp.search.query import Query
from fhir_dmp.store.reading import Moment

# More types than this are told by their number.
NAMED_TYPES = 8


async def explained(context: Context, query: Query, plan: Plan, cursor: Cursor | None, page: Page) -> dict:
    """The plan, and what MongoDB examines for it: it is asked for the same reads once more, with their statistics.

    decided: "index" (the page is cut by it), "rows" (ordered by what rows show), "bodies" (candidates were opened and judged).
    judged: how many were. keysExamined, rowsExamined, rowsFound: of the first read of the page, or of all candidates.
    """
    segments = []
    for segment in plan.segments:
        asked = segment.asked()
        if page.decided == "index":
            stretch = Stretch(context, plan, Moment(), query.descending)
            bounds = {}
            if cursor is not None:
                at = cursor.place[0]
                bounds = {"before": stretch.ahead(at)} if cursor.back else {"after": stretch.beyond(at)}
            asked |= {"descending": query.descending, "limit": query.count + 1, **bounds}
        else:
            asked |= {"limit": limits_of(context).candidates + 1}
        told = await context.reads.examined(**asked)
        types = segment.types or ()
        segments.append(
            {
                "index": segment.hint,
                "types": list(types) if 0 < len(types) <= NAMED_TYPES else len(types) or "all",
                "dossiers": len(segment.dossiers) if segment.dossiers is not None else "all",
                "exact": plan.exact,
                "batches": -(-told["found"] // BATCH) or 1 if page.decided == "bodies" else 1,
                "keysExamined": told["keys"],
                "rowsExamined": told["rows"],
                "rowsFound": told["found"],
            }
        )
    return {"decided": page.decided, "judged": page.examined, "results": len(page.rows), "segments": segments}
