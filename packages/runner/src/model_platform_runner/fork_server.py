"""The fork server of an environment: has imported what runners need, and becomes a runner by a fork at each order.

It knows names of libraries and paths of configurations, and nothing else: it reads no model, imports nothing that a
version brings along, runs no thread and no event loop, and gets no secret. All of that happens in the child. Linux only.

An order is a line of JSON on its socket. The child answers it, waits for the word, and is a runner from then on, so that
whoever ordered has noted the process before it does anything. Runners go on when their fork server ends.
"""

import base64
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import pickle
import random
import select
import signal
import socket
import sys
import time
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from model_platform_runner import start
from model_platform_runner.command_line import pose_as
from model_platform_runner.tokens import Tokens

OPTION = "--fork-server"
LOG = "runner.log"  # beside a runner's configuration
WORD = b"\n"

# What is imported ahead for a library: what nearly every model of it needs.
_IMPORTS = {
    "cloudpickle": ["cloudpickle"],
    "lightgbm": ["lightgbm"],
    "mlflow": ["mlflow.pyfunc"],
    "mlflow-skinny": ["mlflow.pyfunc"],
    "numpy": ["numpy"],
    "pandas": ["pandas"],
    "scikit-learn": ["sklearn.pipeline", "sklearn.compose", "sklearn.linear_model", "sklearn.ensemble"],
    "skops": ["skops.io"],
    "xgboost": ["xgboost"],
}
_MLFLOW = {"mlflow", "mlflow-skinny"}
# Threads that sleep until there is something to clear away, and that a child does without: Arrow's allocator, and what
# removes the files that polars puts on disk.
_HARMLESS_THREADS = {"jemalloc_bg_thd", "polars-ooc-clea"}
_ORDER_SECONDS = 5.0
_WORD_SECONDS = 60.0


class UnfitError(Exception):
    """What is imported cannot be shared by a fork; says why."""


class ForkServer:
    """Takes orders on a socket that is listening already.

    Parameters
    ----------
    seconds
        How long it stays when it has no runner and nobody orders.
    """

    def __init__(self, door: socket.socket, seconds: float) -> None:
        self._door = door
        self._seconds = seconds
        self._children: dict[int, int] = {}  # pids by the descriptors that tell of their end
        self._imported: set[str] = set()

    def serve(self) -> None:
        """Take orders until there is nothing to do, or it turns out that it does not do."""
        while True:
            waiting = select.poll()
            for descriptor in (self._door.fileno(), *self._children):
                waiting.register(descriptor, select.POLLIN)
            found = waiting.poll(None if self._children else 1000 * self._seconds)
            if not found:
                return
            for descriptor, _ in found:
                if descriptor in self._children:
                    self._reap(descriptor)
                elif not self._answer():
                    return

    def _reap(self, descriptor: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._children.pop(descriptor), 0)
        os.close(descriptor)

    def _answer(self) -> bool:
        """Take an order; whether another one may come."""
        connection, _ = self._door.accept()
        with connection, contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            connection.settimeout(_ORDER_SECONDS)
            order = json.loads(connection.makefile().readline())
            configuration = Path(order["configuration"])
            try:
                self._prepare(order["libraries"])
                if not _is_given_up(connection) and self._fork():
                    self._be_runner(connection, configuration)
            except UnfitError as error:
                _send(connection, {"unfit": str(error)})
                return False
            except OSError as error:  # no room for another process now, perhaps for the next
                _send(connection, {"failed": error.strerror or type(error).__name__})
        return True

    def _prepare(self, libraries: Collection[str]) -> None:
        """Import what is not there yet, and see to it that it can be shared."""
        if new := sorted(set(libraries) & _IMPORTS.keys() - self._imported):
            sys.dont_write_bytecode = True  # as while a model is loaded
            if not _MLFLOW.isdisjoint(new):
                os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            for module in [module for name in new for module in _IMPORTS[name]]:
                _import(module)
            _rehearse(self._imported | set(new))
            self._fork_in_vain()
            if others := sorted(set(_threads()) - _HARMLESS_THREADS):
                raise UnfitError(f"threads: {', '.join(others)}")
            self._imported.update(new)
            _settle_memory()

    def _fork_in_vain(self) -> None:
        """A first fork, at which libraries end those threads that they look after themselves (OpenBLAS)."""
        pid = _fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    def _fork(self) -> bool:
        """Whether this is the child."""
        pid = _fork()
        if pid != 0:
            try:
                self._children[os.pidfd_open(pid)] = pid
            except OSError:
                os.kill(pid, signal.SIGKILL)  # a child whose end nobody would see; it has not begun
                os.waitpid(pid, 0)
                raise
        return pid == 0

    def _be_runner(self, connection: socket.socket, configuration: Path) -> NoReturn:
        """The child: a runner as it would be in a process of its own, to the end."""
        status = start.FAILED
        try:
            self._door.close()
            for descriptor in self._children:
                os.close(descriptor)
            try:
                _settle_in(configuration)
            except OSError as error:
                _send(connection, {"failed": error.strerror or type(error).__name__})
                raise
            connection.settimeout(_WORD_SECONDS)
            _send(connection, {"pid": os.getpid(), "ticks": _ticks()})
            if connection.recv(1) == WORD:
                connection.close()
                status = start.run(configuration, forked=True)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)  # never back into the loop of the server


def run(arguments: list[str]) -> int:
    """Serve as ``[FOLDER, DESCRIPTOR, SECONDS, ROOM]`` say.

    FOLDER is its own, by which its process is known; DESCRIPTOR listens; ROOM is text as long as the longest path of a
    configuration, which the children write their own over.
    """
    _, descriptor, seconds, _ = arguments
    with socket.socket(fileno=int(descriptor)) as door:
        door.set_inheritable(False)
        ForkServer(door, float(seconds)).serve()
    return 0


def _import(module: str) -> None:
    try:
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            importlib.import_module(module)
    except BaseException as error:
        # The runner whose model needs it tells what is wrong; half a library must not be handed on.
        raise UnfitError(f"{module} cannot be imported ({type(error).__name__})") from error


def _rehearse(libraries: Collection[str]) -> None:
    """Do once what every runner does: what libraries make at the first use is made here, and shared."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        _check_a_token()
        uvicorn.Config(_nothing, lifespan="off", interface="asgi3", log_config=None, ws="none").load()
        if "pandas" in sys.modules:
            pandas: Any = sys.modules["pandas"]
            rows = pandas.DataFrame({"number": [0.0, 1.0]}).astype({"number": "float64"})
            pandas.Series(["text"], dtype=object), pandas.DataFrame({"text": ["text"]})
        if "pandas" in sys.modules and "scikit-learn" in libraries:
            linear: Any = importlib.import_module("sklearn.linear_model")
            model = pickle.loads(pickle.dumps(linear.LogisticRegression().fit(rows, [0, 1])))  # noqa: S301 - our own
            for given in (rows, rows.to_numpy()):
                model.predict(given)
        if not _MLFLOW.isdisjoint(libraries):  # it looks through all that is installed when it loads the first model
            importlib.import_module("mlflow.utils.requirements_utils")._init_packages_to_modules_map()  # noqa: SLF001


def _check_a_token() -> None:
    """What checks tokens takes megabytes when it is first used. The key is of no one, and forgotten at once."""
    key = Ed25519PrivateKey.generate()
    public = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).decode()
    claims = {"aud": "rehearsal", "exp": time.time() + 60, "jti": "rehearsal"}
    token = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "rehearsal"})
    Tokens("rehearsal", {"rehearsal": public}, None).check(b"Bearer " + token.encode())


async def _nothing(*_arguments: object) -> None:
    """An application that nobody calls."""


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: about threads, which are looked at
        return os.fork()


def _threads() -> list[str]:
    """Names of all threads but this one."""
    tasks = Path("/proc/self/task")
    return [(task / "comm").read_text().strip() for task in tasks.iterdir() if task.name != str(os.getpid())]


def _settle_memory() -> None:
    """Keep what is imported on pages that nobody writes to: a collection would copy them into every child."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None).malloc_trim(0)
    gc.freeze()


def _is_given_up(connection: socket.socket) -> bool:
    """Whether who ordered has gone meanwhile: a runner that nobody knows of must not come up."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(_ORDER_SECONDS)


def _send(connection: socket.socket, facts: dict[str, object]) -> None:
    connection.sendall(json.dumps(facts).encode() + b"\n")


def _settle_in(configuration: Path) -> None:
    """All that a process gets from whoever starts it: session, command line, folder, log; and its own random numbers."""
    os.setsid()
    command = [*sys.orig_argv[: sys.orig_argv.index(OPTION)], str(configuration)]
    pose_as(command)
    sys.argv, sys.orig_argv = [sys.argv[0], str(configuration)], command
    os.chdir(configuration.parent)
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    sys.dont_write_bytecode = False
    _draw_afresh()


def _draw_afresh() -> None:
    """Random numbers of its own, as a fresh process has them, and not those of its siblings."""
    random.seed()
    for module in ("numpy.random", "torch"):
        loaded: Any = sys.modules.get(module)
        if loaded is not None:
            loaded.seed()


def _ticks() -> str:
    """When this process was started, as the system counts it."""
    return Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
