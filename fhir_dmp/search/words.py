"""Running text of a resource, for `_text` (the narrative) and `_content` (every text in it).

https://hl7.org/fhir/R4/search.html#text
"""

import re
from html import unescape

from fhir_dmp.search.spelling import fold_words
from fhir_dmp.search.values import String

_TAG = re.compile(r"<[^>]*>")
# Bulk that is not text.
_SKIPPED = frozenset({"data", "contentType", "hash", "url", "system", "id", "resourceType", "reference", "versionId", "lastUpdated"})
_LONGEST = 100_000


def narrative(resource: dict) -> String:
    """Words of the narrative, folded, between single spaces; the raw form is not kept.

    >>> narrative({"text": {"div": "<div>Fracture de l&#233;paule</div>"}}).folded
    ' fracture de lepaule '
    """
    text = resource.get("text")
    div = text.get("div") if isinstance(text, dict) else None
    return _words([_plain(div)] if isinstance(div, str) else [])


def content(resource: dict) -> String:
    """Words of every text in the resource, narrative and contained resources included."""
    texts: list[str] = []
    waiting: list[object] = [resource]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for name, part in value.items():
                if name == "div" and isinstance(part, str):
                    texts.append(_plain(part))
                elif name not in _SKIPPED:
                    waiting.append(part)
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            texts.append(value)
    return _words(texts)


def _plain(div: str) -> str:
    return unescape(_TAG.sub(" ", div))


def _words(texts: list[str]) -> String:
    folded = fold_words(" \n ".join(text[:_LONGEST] for text in texts))
    return String("", f" {folded} ")
