"""JSON for people: short things on one line, long ones on several.

https://www.rfc-editor.org/rfc/rfc8259
"""

import json

WIDTH = 100


def pretty(value: object, indent: int = 0) -> str:
    """A value as text; lists and objects that fit on a line stay on it.

    >>> pretty({"a": [1, 2], "b": {"c": "d"}})
    '{"a": [1, 2], "b": {"c": "d"}}'
    """
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (len(short) + indent <= WIDTH and depth(value) <= 2):
        return short
    inner, outer = " " * (indent + 2), " " * indent
    if isinstance(value, list):
        if all(isinstance(each, dict) for each in value) and len(value) == 1:
            return f"[{pretty(value[0], indent)}]"
        return "[\n" + ",\n".join(inner + pretty(each, indent + 2) for each in value) + f"\n{outer}]"
    return (
        "{\n"
        + ",\n".join(f"{inner}{json.dumps(name, ensure_ascii=False)}: {pretty(each, indent + 2)}" for name, each in value.items())
        + f"\n{outer}}}"
    )


def depth(value: object) -> int:
    """How deep a value nests."""
    if isinstance(value, dict):
        return 1 + max((depth(each) for each in value.values()), default=0)
    return 1 + max((depth(each) for each in value), default=0) if isinstance(value, list) else 0
