"""What the sampler of a server says a frame is for."""

import signal
import sys
from collections import Counter

from fhir_dmp.bench.sampled import OTHERS, PARTS, Sampler
from fhir_dmp.consent.predicate import Labelled, matches
from fhir_dmp.dmp.documents import Facts
from fhir_dmp.fhir import json


def test_a_step_is_counted_for_the_part_that_it_is_done_for(tmp_path):
    """What everything uses is counted for who uses it; what is none of ours for the driver."""
    sampler = Sampler(tmp_path / "samples-1.json")
    seen = Counter()

    def note(frame, event, _):
        seen[sampler.place(frame)] += 1

    sys.setprofile(note)
    try:
        matches(Labelled("MASQUE_PS"), Facts())
        json.parse(b'{"resourceType":"Patient"}')
    finally:
        sys.setprofile(None)
    parts = {part for part, _ in seen}
    assert "rules" in parts and OTHERS[0] in parts and parts <= {*PARTS, OTHERS[0]}
    assert any(function.startswith("fhir/json.py") for _, function in seen)


def test_samples_are_written_as_they_come(tmp_path):
    sampler = Sampler(tmp_path / "samples-1.json")
    before = signal.getsignal(signal.SIGPROF)
    sampler.start()
    try:
        while not sampler.path.exists():
            sum(range(10_000))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    found = json.parse_exact(b'{"all":' + sampler.path.read_bytes() + b"}")["all"]
    assert sum(count for _, _, count in found) > 0 and {part for part, *_ in found} <= {*PARTS, OTHERS[0]}
