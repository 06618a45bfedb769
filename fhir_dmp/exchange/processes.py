"""Processes for the workers of an import, each at the other end of a socket that is its standard input.

https://docs.python.org/3/library/os.html#os.fork

A fork has imported everything already, which takes a process of its own two seconds, and shares that memory. A process that has threads,
such as a server, is not forked: the locks they hold would stay held.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from fhir_dmp.exchange import worker


class Process(NamedTuple):
    """pid: a child of this process. socket: our end."""

    pid: int
    socket: socket.socket

    async def ended(self, seconds: float) -> None:
        """Wait for its end; after these seconds, make one."""
        waiting = asyncio.create_task(asyncio.to_thread(os.waitpid, self.pid, 0))
        done, _ = await asyncio.wait([waiting], timeout=seconds)
        if not done:
            os.kill(self.pid, signal.SIGKILL)
        await waiting


def started() -> Process:
    """A new process."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "fhir_dmp.exchange.worker"]
        actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)]
        return Process(os.posix_spawn(sys.executable, command, os.environ, file_actions=actions), ours)


@contextlib.contextmanager
def forked(count: int) -> Iterator[list[Process]]:
    """This process so many times, to be taken from the list, before it opens anything; none where it has threads already.

    Those that are left in the list end with the block.
    """
    made: list[Process] = []
    for _ in range(count if threading.active_count() == 1 else 0):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if not pid:
            # The ends of the others too: a worker is to see that this process is gone.
            _work(theirs, [ours, *(one.socket for one in made)])
        theirs.close()
        made.append(Process(pid, ours))
    try:
        yield made
    finally:
        for one in made:
            one.socket.close()
            os.waitpid(one.pid, 0)


def _work(theirs: socket.socket, others: list[socket.socket]) -> None:
    """Be a worker, and nothing else afterwards."""
    status = 1
    try:
        gc.freeze()
        os.dup2(theirs.fileno(), 0)
        for one in (theirs, *others):
            one.close()
        worker.run()
        status = 0
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
