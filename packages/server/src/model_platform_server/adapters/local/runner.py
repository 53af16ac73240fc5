"""One runner: a process that serves a deployment. Its record is a file, so that the next server takes it over."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_platform_core.deployments import Failure
from model_platform_core.errors import (
    CrashLoopFailedError,
    FailedError,
    OutOfMemoryFailedError,
    ReadinessFailedError,
    StartFailedError,
)
from model_platform_core.values import Observed, digest_of
from model_platform_server.adapters.local import files, processes, sockets
from model_platform_server.adapters.local.fork_servers import RUNNER_LOG, Start
from model_platform_server.adapters.local.metrics import Figures, read_figures
from model_platform_server.adapters.local.processes import ProcessIdentity
from model_platform_server.adapters.local.settings import CallLimits, Patience
from model_platform_server.adapters.local.watch import Watch
from model_platform_server.ports import RunnerPlan

_TAIL_LINES = 20
_MINUTE = 60.0


@dataclass(frozen=True)
class Surroundings:
    """What all runners of a target share.

    `start` starts a runner for a plan and a file, in an environment that was built (by its hash) or in the borrowed one
    (None).
    """

    sockets: Path
    revoked: Path
    url: Callable[[], str]
    start: Callable[[RunnerPlan, Path, str | None], Start]
    watch: Watch
    limits: CallLimits
    patience: Patience


class RunnerRecord(Observed):
    """What is known of a runner. Times are seconds since the epoch.

    `ready` and `ended_for` are about the process as it runs now; `leaves_by` is set once it was told to finish. `home`
    is the hash of the environment that was built for it, None for one that runs in a borrowed environment.
    """

    home: str | None = None
    process: ProcessIdentity | None = None
    began: float = 0.0
    ready: bool = False
    was_ready: bool = False
    restarts: int = 0
    quick_deaths: int = 0
    memory_deaths: int = 0
    not_before: float = 0.0
    log_offset: int = 0
    leaves_by: float | None = None
    ended_for: Failure | None = None
    failure: Failure | None = None


def runner_digest(plan: RunnerPlan, home: str | None) -> str:
    """The same for plans that a running runner serves alike; another one means that it has to be replaced.

    Parameters
    ----------
    home
        The hash of the environment that was built for it; None for a borrowed one.
    """
    spec = plan.deployment
    told = [spec.model, spec.version, spec.artifact_sha256, spec.resources.cpu, spec.resources.memory]
    told += [plan.access, plan.keep_output, dict(plan.public_keys), str(plan.directory), home]
    return digest_of(told)[7:15]


class Runner:
    """One process of a deployment, and what is done when it is not ready, dies, or takes too much memory.

    Parameters
    ----------
    home
        The environment in which it is to run; one that has run before stays where it was.
    """

    def __init__(self, folder: Path, plan: RunnerPlan, around: Surroundings, home: str | None = None) -> None:
        self.id = folder.name
        self.plan = plan
        self._folder = folder
        self._around = around
        written = files.read(folder / "runner.json")
        self.record = RunnerRecord.model_validate_json(written) if written else RunnerRecord(home=home)
        name = f"{plan.ref}/{plan.deployment.name}/{self.id}"
        self._short = around.sockets / hashlib.sha256(name.encode()).hexdigest()[:16]
        self.figures: deque[tuple[float, Figures]] = deque()
        self._start: Start | None = None
        self._looked = 0.0
        self._heard = 0.0

    # ---------------------------------------------------------------- what it is

    @property
    def socket(self) -> Path:
        """Where it takes calls."""
        return self._short.with_suffix(".calls")

    @property
    def control_socket(self) -> Path:
        """Where it answers its supervisor."""
        return self._short.with_suffix(".control")

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self._folder / RUNNER_LOG

    @property
    def configuration_file(self) -> Path:
        """What it was started with: also how its process is found, should nobody have noted it."""
        return self._folder / "config.json"

    @property
    def answers(self) -> bool:
        """Whether it takes calls now."""
        return self.record.ready and self.record.leaves_by is None and processes.alive(self.record.process)

    @property
    def starting(self) -> bool:
        """Whether it is coming up now."""
        return self._start is not None or (not self.record.ready and processes.alive(self.record.process))

    @property
    def gone(self) -> bool:
        """Whether it was told to finish, and did."""
        return self.record.leaves_by is not None and not processes.alive(self.record.process)

    # ---------------------------------------------------------------- steps

    def adopt(self, found: list[ProcessIdentity]) -> None:
        """Take over the process that an earlier server started; `found` run with our configuration file.

        What that process has started itself, to try something in a copy of its own, is left to it.
        """
        known = self.record.process if processes.alive(self.record.process) else None
        for identity in found:
            if known is None:
                known = identity
                self._note(process=known)
            elif identity != known and processes.parent(identity) != known.pid:
                processes.kill(identity)
        if known is not None:
            self._around.watch.tell_of_end(known)

    def step(self, now: float, may_start: Callable[[], bool]) -> None:
        """Do what is due: start it, find it ready, or deal with its end."""
        if self.record.failure is not None or self.gone:
            return
        if self._start is not None:
            self._settle(self._start)
        elif processes.alive(self.record.process):
            if self.record.leaves_by is not None:
                if now > self.record.leaves_by:
                    self.kill()
            elif not self.record.ready:
                self._look_whether_ready(now)
        elif self.record.process is not None:
            self._died(now)
        elif not now < self.record.not_before <= now + self._around.patience.longest_pause and may_start():
            self._begin(now)

    def look_after(self, now: float) -> None:
        """Look at its memory and whether it still answers; both take a moment, so not at every step."""
        if not processes.alive(self.record.process) or self.record.process is None:
            return
        limit = self.plan.deployment.resources.memory
        if (used := processes.memory(self.record.process, limit)) > limit:
            self._end_for(self._out_of_memory(used))
        elif self.record.ready and now - self._looked >= self._around.patience.look:
            self._looked = now
            self._listen(now)
        files.rotate(self.log)

    def leave(self, now: float) -> None:
        """Tell it to finish what it holds and end."""
        self.cancel_start()
        if self.record.leaves_by is None:
            self._note(leaves_by=now + self._around.patience.grace)
            if self.record.process is not None:
                processes.send(self.record.process, signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        if self.record.process is not None:
            processes.kill(self.record.process)

    def cancel_start(self) -> None:
        """Let its process not begin, if that is on its way and not noted yet."""
        if self._start is not None:
            self._start.cancel()
            self._start = None

    def forget(self) -> None:
        """Remove what is left of it."""
        self.cancel_start()
        for path in (self.socket, self.control_socket):
            path.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---------------------------------------------------------------- start

    def _begin(self, now: float) -> None:
        files.private_folder(self._folder)
        with self._told():
            files.replace(self.configuration_file, json.dumps(self._configuration(), indent=1))
            for path in (self.socket, self.control_socket):
                path.unlink(missing_ok=True)
            # Noted before and after: whoever finds the first note alone looks for the process by its configuration.
            self._note(process=None, began=now, ready=False, ended_for=None, log_offset=files.size(self.log))
            self._start = self._around.start(self.plan, self.configuration_file, self.record.home)
            self._settle(self._start)

    def _settle(self, start: Start) -> None:
        """Note the process, if it is there by now, and let it begin."""
        with self._told():
            identity = start.identity()
            if identity is not None:
                self._note(process=identity)
                start.go()
                self._start = None
                self._around.watch.tell_of_end(identity)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What keeps it from starting becomes its failure."""
        try:
            yield
        except OSError as error:
            self._fail(Failure(code=StartFailedError.code, message=f"The runner cannot be started: {error.strerror}."))
        except FailedError as error:
            self._fail(Failure(code=error.code, message=error.message, hint=error.hint))

    def _configuration(self) -> dict[str, Any]:
        plan, spec = self.plan, self.plan.deployment
        return {
            "zone": plan.ref.zone,
            "endpoint": plan.ref.name,
            "model": spec.model,
            "version": str(spec.version),
            "deployment": spec.name,
            "runner_id": self.id,
            "model_directory": str(plan.directory),
            "files": {file.path: file.sha256 for file in plan.files},
            "socket": str(self.socket),
            "control_socket": str(self.control_socket),
            "access": str(plan.access),
            "keep_output": plan.keep_output,
            "audience": str(plan.ref),
            "public_keys": dict(plan.public_keys),
            "revoked_file": str(self._around.revoked),
            "supervisor": str(self._around.watch.path),
            "limits": asdict(self._around.limits),
            "url": f"{self._around.url()}/{plan.ref}",
        }

    def _look_whether_ready(self, now: float) -> None:
        with contextlib.suppress(OSError):
            if sockets.ask(self.control_socket, "/ready", timeout=1.0)[0] == 200:
                self._heard = now
                self._note(ready=True, was_ready=True)
                return
        seconds = self._around.patience.ready
        if now - self.record.began > seconds:
            message = f"The runner was not ready within {seconds:g} seconds."
            self._end_for(Failure(code=ReadinessFailedError.code, message=message, log_tail=self.log_tail()))

    def _listen(self, now: float) -> None:
        try:
            status, text = sockets.ask(self.control_socket, "/metrics", timeout=2.0)
        except OSError:
            silent = now - (self._heard or now)
            self._heard = self._heard or now
            if silent > self._around.patience.silence:
                message = f"The runner did not answer for {silent:.0f} seconds and was ended."
                self._end_for(Failure(code=ReadinessFailedError.code, message=message, log_tail=self.log_tail()))
            return
        self._heard = now
        if status == 200:
            self.figures.append((now, read_figures(text)))
            while self.figures[0][0] < now - _MINUTE:
                self.figures.popleft()

    # ---------------------------------------------------------------- ends

    def _end_for(self, reason: Failure) -> None:
        """End the process for a reason, which decides what comes after."""
        self._note(ended_for=reason)
        self.kill()

    def _died(self, now: float) -> None:
        """Start again after a pause, or give up: what the next start would meet again is not tried again."""
        process, patience = self.record.process, self._around.patience
        assert process is not None
        if not processes.from_this_boot(process):
            self._note(process=None, ready=False, not_before=0.0)
            return
        quick = now - self.record.began < patience.quick_death
        deaths = self.record.quick_deaths + 1 if quick else 1
        reason = self.record.ended_for or self._own_word()
        memory_deaths = self.record.memory_deaths + (reason is not None and reason.code == OutOfMemoryFailedError.code)
        if (reason is not None and not self.record.was_ready) or (
            memory_deaths >= patience.memory_deaths and reason is not None
        ):
            self._fail(reason)
        elif deaths >= patience.deaths:
            self._fail(reason or self._crash_loop(deaths))
        else:
            pause = min(patience.first_pause * 2 ** (deaths - 1), patience.longest_pause)
            # In one note: where none can be written, the same death must not be counted again.
            self._note(
                process=None,
                ready=False,
                restarts=self.record.restarts + 1,
                quick_deaths=deaths,
                memory_deaths=memory_deaths,
                not_before=now + pause,
            )

    def _own_word(self) -> Failure | None:
        """What the runner itself wrote before it ended, if its start failed."""
        for event in self._events():
            if event.get("event") == "failed" and str(event.get("code", "")).startswith("failed_"):
                return Failure(code=event["code"], message=str(event.get("message", "")), log_tail=self.log_tail())
        return None

    def _crash_loop(self, deaths: int) -> Failure:
        message = f"The runner ended {deaths} times shortly after its start."
        return Failure(code=CrashLoopFailedError.code, message=message, log_tail=self.log_tail())

    def _out_of_memory(self, used: int) -> Failure:
        limit, plan = self.plan.deployment.resources.memory, self.plan
        wanted = -(-used * 5 // 4 // (256 << 20)) * 256  # a quarter more, in steps of 256 MiB
        name = plan.deployment.model.rpartition(".")[2]
        return Failure(
            code=OutOfMemoryFailedError.code,
            message=f"The runner used {used >> 20} MiB of memory; {limit >> 20} MiB are its limit.",
            hint=f"%mp_deploy {name}:{plan.deployment.version} --memory {wanted}Mi",
            log_tail=self.log_tail(),
        )

    def _fail(self, failure: Failure) -> None:
        self.cancel_start()
        self._note(process=None, ready=False, failure=failure)

    # ---------------------------------------------------------------- log and record

    def log_tail(self) -> tuple[str, ...]:
        """The last lines of this start, without those about calls."""
        lines = [line for line in self._lines() if '"event":"call"' not in line]
        return tuple(lines[-_TAIL_LINES:])

    def lacking(self) -> str | None:
        """What the model asked for and did not find, in the sentence of the last time that it did."""
        found = next((event for event in self._events() if event.get("event") == "lacking"), {})
        return str(found["message"]) if "message" in found else None

    def libraries(self) -> Mapping[str, str]:
        """Versions by import name, as it said when it was ready."""
        ready = next((event for event in self._events() if event.get("event") == "ready"), {})
        found = ready.get("libraries")
        return {str(name): str(version) for name, version in found.items()} if isinstance(found, dict) else {}

    def _events(self) -> Iterator[dict[str, Any]]:
        for line in reversed(self._lines()):
            with contextlib.suppress(ValueError):
                if isinstance(event := json.loads(line), dict):
                    yield event

    def _lines(self) -> list[str]:
        try:
            with self.log.open("rb") as file:
                file.seek(self.record.log_offset if self.record.log_offset <= files.size(self.log) else 0)
                return file.read().decode(errors="replace").splitlines()
        except OSError:
            return []

    def _note(self, **changes: Any) -> None:
        self.record = self.record.model_copy(update=changes)
        files.replace(self._folder / "runner.json", self.record.model_dump_json())
