"""Searches by a visibility label: what matches is what the asker is shown, not what is stored.

https://hl7.org/fhir/R4/documentreference.html#search (security-label), https://hl7.org/fhir/R4/search.html (_security)

Labels of visibility stand beside the body, so the search engine does not know them; here they become part of the asker's sight.
"""

from collections.abc import Sequence

from fhir_dmp.consent.predicate import All, AnyOf, Not, Predicate, matches, to_mongo
from fhir_dmp.dmp.visibility import VISIBILITY, label_of
from fhir_dmp.errors import FhirError
from fhir_dmp.interactions import facts
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.search.query import Query
from fhir_dmp.store.rows import Row

CODES = ("security-label", "_security")
DOCUMENT = "DocumentReference"


def apart(context: Context, type_name: str | None, pairs: Sequence[tuple[str, str]], query: Query, sight: Sight) -> tuple[Query, Sight]:
    """The query without its criteria about visibility labels, and a sight that decides those."""
    from fhir_dmp.interactions.search_type import understood

    if context.enforcer is None or sight.met is None or type_name != DOCUMENT or not [1 for name, _ in pairs if name.startswith(CODES)]:
        return query, sight
    left, asked = [], []
    for name, text in pairs:
        code, _, modifier = name.partition(":")
        labels = [_label(part) for part in text.split(",")] if code in CODES and modifier in ("", "not") else [""]
        if not any(labels):
            left.append((name, text))
        elif all(labels):
            found = AnyOf(tuple(sight.met.view.searched(label) for label in labels))
            asked.append(Not(found) if modifier else found)
        else:
            raise FhirError("not-supported", f"search parameter `{code}`: visibility labels are asked for apart from others")
    if not asked:
        return query, sight
    return query._replace(alternatives=understood(context, type_name, left, True).alternatives), _narrowed(
        context, sight, All(tuple(asked))
    )


def _label(token: str) -> str:
    system, bar, code = token.rpartition("|")
    if not bar:
        return code if code in VISIBILITY else ""
    found = label_of({"system": system, "code": code})
    return found if found in VISIBILITY else ""


def _narrowed(context: Context, sight: Sight, asked: Predicate) -> Sight:
    over = to_mongo(asked, context.store.vault.hash64)

    def filter(type_name: str | None) -> dict:
        return {"$and": [sight.filter(type_name), over]}

    def sees(row: Row) -> bool:
        return sight.sees(row) and any(matches(asked, one) for one in facts.opened(context, row))

    return Sight(filter, sees, sight.met)
