"""What one search may ask for.

https://hl7.org/fhir/R4/search.html#errors
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """or_values: of one parameter. chain_depth: chains and _has together. value_chars: of one parameter's value.

    candidates: rows that the index could not decide and that are opened for it. intermediates: resources a chain may go through.
    followed: resources whose own references are followed, instead of asking which resources of the whole store a chain could lead to.
    included: resources that _include and _revinclude may add to one page. include_rounds: how often `:iterate` goes on from what was added.
    """

    parameters: int = 60
    or_values: int = 200
    value_chars: int = 20_000
    chain_depth: int = 5
    includes: int = 20
    include_rounds: int = 20
    sort_keys: int = 5
    filter_depth: int = 20
    filter_terms: int = 50
    value_set_codes: int = 5_000
    default_count: int = 50
    max_count: int = 1_000
    candidates: int = 20_000
    intermediates: int = 20_000
    followed: int = 2_000
    included: int = 5_000


DEFAULTS = Limits()
