"""Examples that break exactly one rule, by file name. https://hl7.org/fhir/R4/profiling.html"""


def examples() -> dict:
    return {}
