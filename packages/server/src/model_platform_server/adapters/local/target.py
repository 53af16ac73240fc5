"""The local target: runners as processes of this user, behind an Envoy on loopback. Both outlive the server."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model_platform_core.deployments import Capabilities, Failure
from model_platform_core.errors import (
    ModelPlatformError,
    TargetUnavailableError,
    UnsupportedByTargetError,
)
from model_platform_core.refs import EndpointRef
from model_platform_core.values import canonical_json
from model_platform_core.wire import EndpointMetrics, EnvironmentInfo, LogLine
from model_platform_core.zones import Amount
from model_platform_server.adapters.local import files, machine, metrics, processes, sockets
from model_platform_server.adapters.local.calls import call
from model_platform_server.adapters.local.deployment import Deployment
from model_platform_server.adapters.local.environments import Environments
from model_platform_server.adapters.local.fork_servers import FORK_SERVERS, ForkServers, Launch, Start
from model_platform_server.adapters.local.gateway import Clusters, Gateway
from model_platform_server.adapters.local.logs import read_logs
from model_platform_server.adapters.local.overlay import Overlays, main_file
from model_platform_server.adapters.local.own import Moves
from model_platform_server.adapters.local.remains import DEPLOYMENTS, take_over
from model_platform_server.adapters.local.requirements import needs_of
from model_platform_server.adapters.local.runner import Surroundings
from model_platform_server.adapters.local.settings import CallLimits, EnvironmentPolicy, Patience
from model_platform_server.adapters.local.watch import Watch
from model_platform_server.ports import Observation, RoutePlan, RunnerPlan
from model_platform_server.settings import OwnEnvironments

_NAME = "local"
_GATEWAY_MARGIN = 5.0  # seconds that the gateway waits longer than a runner may take

log = logging.getLogger(__name__)


class LocalTarget:
    """Deployments as processes. No sandbox: runners are the same user, so it serves one person.

    Parameters
    ----------
    state_directory
        Where everything lies that the next server needs to take over what runs.
    gateway_port
        Where the gateway is to listen; 0 means where it did before, the first time 8800 or a free one near it.
    limits, patience
        What a runner takes on, and how long is waited for it.
    policy
        When models get an environment of their own.
    """

    def __init__(
        self,
        state_directory: Path,
        *,
        gateway_port: int = 0,
        limits: CallLimits = CallLimits(),  # noqa: B008 - a frozen value
        patience: Patience = Patience(),  # noqa: B008
        policy: EnvironmentPolicy = EnvironmentPolicy(),  # noqa: B008
    ) -> None:
        self._state = files.private_folder(state_directory.resolve())
        self._patience, self._policy = patience, policy
        self._environments = Environments(self._state / "environments")
        self._moves = Moves(self._environments, policy)
        self._overlays = Overlays(self._state / "overlays")
        socket_folder = sockets.socket_folder(self._state)
        self._watch = Watch(socket_folder / "supervisor")
        self._fork_servers = ForkServers(self._state / FORK_SERVERS, socket_folder, self._watch, patience)
        self._around = Surroundings(
            sockets=socket_folder,
            revoked=self._state / "revoked.json",
            url=lambda: self._gateway.url,
            start=self._start,
            watch=self._watch,
            limits=limits,
            patience=patience,
        )
        self._call_seconds = limits.seconds + 2 * _GATEWAY_MARGIN
        self._lock, self._telling = threading.Lock(), threading.Lock()
        self._gateway = Gateway(
            self._state / "gateway", socket_folder, port=gateway_port, seconds=limits.seconds + _GATEWAY_MARGIN
        )
        self._deployments = take_over(self._state, self._around)
        self._told: Clusters = {}
        self._refreshed = False
        self._trouble = ""
        self._seen: dict[tuple[EndpointRef, str], Observation] = {}

    # ---------------------------------------------------------------- what it can do

    def capabilities(self) -> Capabilities:
        """Splits and replicas; no GPU, no isolation. `missing` says in words what this machine lacks."""
        return Capabilities(target=_NAME, missing=tuple(machine.check_machine()))

    def capacity(self) -> Amount:
        """All cores, half of the memory."""
        return machine.capacity()

    def gateway_url(self) -> str:
        """Base of all endpoint URLs; starts the gateway if it does not run."""
        self._gateway.ensure()
        return self._gateway.url

    # ---------------------------------------------------------------- deployments

    def prepare(self, plan: RunnerPlan, report: Callable[[str], None]) -> None:
        """Make the environment and the overlay ready. What was given up for this deployment is tried again after it."""
        self._refuse_what_cannot_be(plan)
        environment = self._environments.make(plan, report, borrow=self._policy.own is not OwnEnvironments.FIRST)
        self._overlays.make(environment.interpreter, report)
        deployment = self._get(plan.ref, plan.deployment.name)
        if deployment is not None:
            with deployment.lock:
                deployment.forget_failures()
                if not deployment.sockets() and self._environments.has(key := deployment.needs.key):
                    deployment.take_over(key)  # nothing answers that could go on

    def run(self, plan: RunnerPlan) -> None:
        """See to it that the plan's replicas run."""
        self._refuse_what_cannot_be(plan)
        deployment = self._get(plan.ref, plan.deployment.name)
        if deployment is None:
            folder = self._state / DEPLOYMENTS / str(plan.ref.zone) / plan.ref.name / plan.deployment.name
            deployment = Deployment(folder, plan, self._around)
            if self._environments.has(deployment.needs.key):
                deployment.take_over(deployment.needs.key)
            with self._lock:
                self._deployments[plan.ref, plan.deployment.name] = deployment
        with deployment.lock:
            deployment.leaving = False
            deployment.run(plan)
        self._advance([deployment])

    def known(self) -> set[EndpointRef]:
        """The endpoints of which a deployment is here."""
        with self._lock:
            return {ref for ref, _ in self._deployments}

    def observe(self, ref: EndpointRef) -> dict[str, Observation]:
        """The deployments of an endpoint that exist here."""
        self._watch.look()
        found = self._of(ref)
        with self._warned():
            self._advance(found)
        return {one.plan.deployment.name: self._moves.told(one, one.observation()) for one in found}

    def wait(self, ref: EndpointRef, seconds: float) -> None:  # noqa: ARG002 - what happens to any wakes all
        """Return when a runner has started, become ready or ended since this thread observed."""
        self._watch.wait(seconds)

    def libraries(self, ref: EndpointRef, deployment: str, *, successor: bool = False) -> Mapping[str, str]:
        """Versions of the libraries that a deployment's runner said it serves with."""
        found = self._get(ref, deployment)
        if found is None:
            return {}
        runners = [found.successor] if successor else found.runners
        return next((runner.libraries() for runner in runners if runner), {})

    def lacking(self, ref: EndpointRef, deployment: str) -> str | None:
        """What a runner of the deployment said that its model lacks."""
        found = self._get(ref, deployment)
        return next((said for runner in found.runners if (said := runner.lacking())), None) if found else None

    def remove(self, ref: EndpointRef, deployment: str) -> None:
        """Out of the routes, until nothing is being answered; then out of the gateway; then SIGTERM, and SIGKILL."""
        found = self._get(ref, deployment)
        if found is None:
            return
        with found.lock:
            found.leaving = True
        self._gateway.withdraw(ref, deployment)
        self._drain(found.cluster)
        with self._lock:
            self._deployments.pop((ref, deployment), None)
            self._seen.pop((ref, deployment), None)
        self._tell_gateway()
        found.end(self._patience.grace)

    def _drain(self, cluster: str) -> None:
        quiet = 0

        def drained() -> bool:
            nonlocal quiet
            quiet = 0 if self._gateway.active(cluster) else quiet + 1
            return quiet == 2  # twice, for a request that was on its way between the worker and its count

        processes.wait_until(drained, self._patience.drain, 0.02)

    # ---------------------------------------------------------------- traffic

    def route(self, plan: RoutePlan) -> None:
        """Put traffic where the plan says; returns when it is in force."""
        named = {name for name, weight in plan.weights.items() if weight > 0} | set(plan.private)
        if missing := sorted(name for name in named if self._get(plan.ref, name) is None):
            raise TargetUnavailableError(f"{plan.ref} has no deployment {missing[0]} to send traffic to.")
        self._gateway.set_route(plan)

    def call(self, path: str, records: Sequence[Any], token: str | None) -> list[Any]:
        """A plain call through the gateway."""
        return call(self.gateway_url().removeprefix("http://"), path, records, token, self._call_seconds)

    # ---------------------------------------------------------------- environments

    def call_successor(self, ref: EndpointRef, deployment: str, records: Sequence[Any], token: str | None) -> list[Any]:
        """A plain call to a runner in the model's own environment that has no traffic yet."""
        found = self._get(ref, deployment)
        runner = found.successor if found else None
        if runner is None:
            raise TargetUnavailableError(f"{ref} has no runner in an environment of its own that answers.")
        return call(runner.socket, "/", records, token, self._call_seconds)

    def take_over(self, ref: EndpointRef, deployment: str) -> None:
        """Send calls to the runners in the model's own environment; those before end what they hold, and go."""
        found = self._get(ref, deployment)
        if found is not None:
            with found.lock:
                found.take_over()
            self._advance([found])

    def refuse_successor(self, ref: EndpointRef, deployment: str, failure: Failure) -> None:
        """Go on as before."""
        found = self._get(ref, deployment)
        if found is not None:
            with found.lock:
                found.refuse(failure)

    def environments(self) -> list[EnvironmentInfo]:
        """What was built, and what is to be."""
        return self._moves.infos(self._every())

    def prune_environments(self) -> list[EnvironmentInfo]:
        """Remove what neither a live nor a warm deployment uses."""
        return self._moves.prune(self._every())

    def end(self) -> None:
        """Give up what is being made; runners and gateway go on."""
        self._moves.end()
        self._overlays.end()
        for deployment in self._every():
            with deployment.lock:
                deployment.cancel_starts()
        self._watch.end()

    def revoke(self, token_ids: Sequence[str]) -> None:
        """Write the list that runners look at."""
        files.replace(self._around.revoked, canonical_json(sorted(token_ids)))

    # ---------------------------------------------------------------- what is seen

    def metrics(self, ref: EndpointRef) -> EndpointMetrics:
        """Calls of the endpoint since its runners started; the rate is that of the last minute."""
        now, every, per_second = time.time(), [], 0.0
        for runner in [runner for deployment in self._of(ref) for runner in list(deployment.runners)]:
            if runner.answers:
                try:
                    _, text = sockets.ask(runner.control_socket, "/metrics")
                except OSError:
                    continue
                figures = metrics.read_figures(text)
                every.append(figures)
                per_second += metrics.rate(list(runner.figures), (now, figures))
        return metrics.summed(every, per_second)

    def logs(self, ref: EndpointRef, deployment: str | None, lines: int, follow: bool) -> Iterator[LogLine]:
        """The end of the runners' logs, and what comes if `follow`."""

        def listed() -> list[tuple[str, str, Path]]:
            return [
                (found.plan.deployment.name, runner.id, runner.log)
                for found in self._of(ref)
                if deployment in (None, found.plan.deployment.name)
                for runner in list(found.runners)
            ]

        return read_logs(listed, lines, follow=follow)

    def maintain(self) -> set[EndpointRef]:
        """Look after the gateway and every runner; the endpoints whose observation changed."""
        with self._lock:
            deployments = dict(self._deployments)
        if deployments:
            with self._warned():
                self._look_after_gateway()
        now = time.time()
        for deployment in deployments.values():
            if not deployment.leaving:
                with deployment.lock, self._warned():
                    deployment.look_after(now)
        self._fork_servers.look_after()
        with self._warned():
            self._moves.look_after([one for one in deployments.values() if not one.leaving], now)
        with self._warned():
            self._advance(list(deployments.values()))
        seen = {key: self._moves.told(one, one.observation()) for key, one in deployments.items()}
        changed = {key[0] for key, observation in seen.items() if self._seen.get(key) != observation}
        self._seen = seen
        return changed

    def _look_after_gateway(self) -> None:
        """It runs, and knows what is known here; endpoints do not count as answering while it does not."""
        self._tell_gateway()
        if not self._refreshed:
            self._gateway.refresh()
            self._refreshed = True
        self._gateway.rotate_log()

    # ---------------------------------------------------------------- inside

    def _advance(self, deployments: Sequence[Deployment]) -> None:
        """Do what is due for deployments, and tell the gateway who answers now: once for all of them.

        What fails for one keeps nothing from the others; it is raised at the end.
        """
        now, errors = time.time(), []
        staying = [deployment for deployment in deployments if not deployment.leaving]
        for deployment in staying:
            with deployment.lock:
                try:
                    deployment.step(now, self._may_start)
                except ModelPlatformError as error:
                    errors.append(error)
        if any(one.cluster not in self._told or one.sockets() != one.sent for one in staying):
            self._tell_gateway()
        for deployment in staying:
            with deployment.lock:
                deployment.release(now)
        if errors:
            raise errors[0]

    def _tell_gateway(self) -> None:
        """Put into force which deployments there are, and which of their runners answer."""
        with self._telling:
            with self._lock:
                deployments = list(self._deployments.values())
            self._told = {deployment.cluster: deployment.sockets() for deployment in deployments}
            try:
                self._gateway.set_clusters(self._told)
            except ModelPlatformError:
                self._told = {}
                raise
            finally:
                for deployment in deployments:
                    deployment.sent = self._told.get(deployment.cluster, ())

    @contextlib.contextmanager
    def _warned(self) -> Iterator[None]:
        """What cannot be done while nobody waits for it is done a second later; it is told once."""
        try:
            yield
        except ModelPlatformError as error:
            if self._trouble != error.message:
                log.warning("what runs cannot be looked after: %s", error)
            self._trouble = error.message

    def _start(self, plan: RunnerPlan, configuration: Path, home: str | None) -> Start:
        """Start a runner in its model's Python, with the overlay and without anything of our own environment."""
        environment = self._moves.environment(plan, home)
        python = environment.interpreter
        overlay = self._overlays.make(python, lambda _words: None)
        safe = ["-P"] if python.version >= (3, 11) else []
        variables = processes.allowed_environment() | processes.thread_environment(plan.deployment.resources.cpu)
        variables |= processes.memory_environment()
        if environment.paths:
            variables["PYTHONPATH"] = ":".join(environment.paths)
        command = (str(python.python), *safe, str(main_file(overlay)))
        known = self._get(plan.ref, plan.deployment.name)
        needs = known.needs if known else needs_of(plan)
        return self._fork_servers.begin(
            Launch(configuration, command, variables, needs.libraries, stamp=environment.stamp())
        )

    def _may_start(self) -> bool:
        """Whether another runner may come up beside those that do: after a reboot not all at once."""
        with self._lock:
            runners = [runner for deployment in self._deployments.values() for runner in list(deployment.runners)]
        return sum(runner.starting for runner in runners) < max(2, machine.cores())

    def _get(self, ref: EndpointRef, deployment: str) -> Deployment | None:
        with self._lock:
            return self._deployments.get((ref, deployment))

    def _every(self) -> list[Deployment]:
        with self._lock:
            return list(self._deployments.values())

    def _of(self, ref: EndpointRef) -> list[Deployment]:
        with self._lock:
            return [deployment for (owner, _), deployment in self._deployments.items() if owner == ref]

    def _refuse_what_cannot_be(self, plan: RunnerPlan) -> None:
        if plan.deployment.resources.gpu:
            raise UnsupportedByTargetError(
                "The local target gives no GPUs to models.", hint="deploy with gpu 0, or on a cluster"
            )
        if problems := machine.check_machine():
            raise UnsupportedByTargetError(f"Models cannot be served here: {problems[0]}.", hint="mp doctor")
