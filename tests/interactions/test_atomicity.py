"""A transaction is all or nothing, whatever dies in the middle of it. https://hl7.org/fhir/R4/http.html#trules"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

from tests.interactions.making import Fhir, basic, bundle, encoded, entry, identified, stored, unique
from tests.serving import children, serving

ENTRIES = 30


def kill_at_once(process: subprocess.Popen) -> None:
    """kill -9 of the server and of all its workers; MongoDB goes by itself, or is there to stay."""
    for pid in [process.pid, *children(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def test_a_server_killed_in_the_middle_of_transactions_leaves_each_of_them_whole_or_not_at_all(tmp_path):
    marks, acknowledged = [], []
    with serving(tmp_path) as server:
        counter = stored(Fhir(server).post("Basic", basic(id="counter")))

        def work() -> None:
            with httpx.Client(timeout=60, headers=server.auth) as http:
                fhir = Fhir(server, http)
                while True:
                    mark = unique()
                    marks.append(mark)
                    entries = [entry("POST", "Basic", identified("Basic", mark), f"urn:uuid:{n}") for n in range(ENTRIES)]
                    entries.append(entry("PUT", f"Basic/{mark}", identified("Basic", mark, id=mark)))
                    try:
                        if fhir.post("", bundle("transaction", *entries)).status_code == 200:
                            acknowledged.append(mark)
                    except httpx.HTTPError:
                        return

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        end = time.monotonic() + 120
        while len(acknowledged) < 6 and time.monotonic() < end:
            time.sleep(random.uniform(0.01, 0.05))
        kill_at_once(server.process)
        for worker in workers:
            worker.join()
    assert len(acknowledged) >= 6, "too slow to tell anything"
    with serving(tmp_path) as server:
        fhir = Fhir(server)
        assert fhir.get(counter.path).status_code == 200
        found = {mark: fhir.get(f"Basic?identifier=urn:x-test|{mark}&_summary=count").json()["total"] for mark in marks}
        assert set(found.values()) <= {0, ENTRIES + 1}
        assert {mark for mark in acknowledged if found[mark] != ENTRIES + 1} == set()
        whole = [mark for mark in marks if fhir.get(f"Basic/{mark}").status_code == 200]
        assert whole == [mark for mark in marks if found[mark]]
        assert fhir.post("Basic", basic()).status_code == 201


def test_an_import_killed_in_the_middle_of_transactions_leaves_each_of_them_whole_or_not_at_all(tmp_path):
    source, data = tmp_path / "bundles", tmp_path / "data"
    source.mkdir()
    for number in range(40):
        entries = [entry("POST", "Basic", identified("Basic", f"bundle-{number}")) for _ in range(ENTRIES)]
        (source / f"{number:03}.json").write_bytes(encoded(bundle("transaction", *entries)))
    with serving(tmp_path) as server:
        fhir = Fhir(server)
        command = [sys.executable, "-m", "fhir_dmp", "import", str(source), "--data", str(data), "--source", "sandbox"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while not fhir.get("Basic?_summary=count").json()["total"] and time.monotonic() < end and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        process.wait()
        totals = {fhir.get(f"Basic?identifier=urn:x-test|bundle-{n}&_summary=count").json()["total"] for n in range(40)}
        assert totals <= {0, ENTRIES} and ENTRIES in totals


def test_a_database_killed_in_the_middle_of_updates_loses_nothing_acknowledged(tmp_path):
    told, acknowledged, answers = threading.Event(), {}, []
    with serving(tmp_path) as server:

        def work(number: int) -> None:
            with httpx.Client(timeout=120, headers=server.auth) as http:
                fhir = Fhir(server, http)
                for count in range(100_000):
                    answer = fhir.put(f"Basic/{number}", basic(id=f"{number}", code={"text": f"{count}"}))
                    answers.append(answer)
                    if answer.status_code in (200, 201):
                        acknowledged[number] = count
                    if told.is_set():
                        return

        workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for worker in workers:
            worker.start()
        time.sleep(0.5)
        mongod = next(pid for pid in children(server.process.pid) if "mongod" in Path(f"/proc/{pid}/comm").read_text())
        os.kill(mongod, signal.SIGKILL)
        seen = len(answers)
        end = time.monotonic() + 120
        while len([answer for answer in answers[seen + 8 :] if answer.status_code == 200]) < 8 and time.monotonic() < end:
            time.sleep(0.05)
        told.set()
        for worker in workers:
            worker.join()
        fhir = Fhir(server)
        for number, count in acknowledged.items():
            assert int(fhir.get(f"Basic/{number}").json()["code"]["text"]) >= count
        statuses = {answer.status_code for answer in answers}
        assert statuses <= {200, 201, 503}, [answer.text for answer in answers if answer.status_code not in (200, 201, 503)][:3]
        for answer in answers:
            if answer.status_code == 503:
                assert answer.headers["retry-after"] and answer.json()["issue"][0]["code"] == "transient"
