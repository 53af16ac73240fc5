"""What the suite needs of a target beyond its contract: another server on the same state, and ways to break things."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from model_platform_core.refs import EndpointRef
from model_platform_server.adapters.local.processes import ProcessIdentity, alive
from model_platform_server.adapters.local.remains import stop_everything
from model_platform_server.adapters.local.settings import CallLimits, EnvironmentPolicy, Patience
from model_platform_server.adapters.local.target import LocalTarget
from model_platform_server.ports import DeploymentTarget, Observation, RoutePlan, RunnerPlan, RunnerState
from model_platform_server.settings import OwnEnvironments
from support.servers import wait_until

REF = EndpointRef("dev", "churn")
PATIENCE = Patience(ready=60, drain=10, grace=10, first_pause=0.05, longest_pause=1.0, look=0.2, silence=30)
BORROW = EnvironmentPolicy(own=OwnEnvironments.NEVER)


class Harness(Protocol):
    """A kind of target under test."""

    target: DeploymentTarget

    def another(self) -> DeploymentTarget:
        """A target as the next server would make it: on the same state, knowing nothing else."""
        ...

    def drive(self, plan: RunnerPlan) -> subprocess.Popen[str]:
        """A server in a process of its own that brings the plan up and routes to it, telling each step in a line."""
        ...

    def runners(self, ref: EndpointRef, deployment: str) -> list[str]:
        """What identifies the runners' processes: another word means another process."""
        ...

    def hang_runner(self, ref: EndpointRef, deployment: str) -> None:
        """Keep a runner from doing anything."""
        ...

    def kill_runner(self, ref: EndpointRef, deployment: str, number: int = 0) -> None:
        """End a runner without warning."""
        ...

    def end(self) -> None:
        """End everything, and see that nothing is left."""
        ...


class LocalHarness:
    """The local target on a state directory."""

    def __init__(
        self,
        state: Path,
        patience: Patience = PATIENCE,
        limits: CallLimits = CallLimits(),  # noqa: B008
        policy: EnvironmentPolicy = BORROW,
    ) -> None:
        self.state = state
        self._patience, self._limits, self._policy = patience, limits, policy
        self._made: list[LocalTarget] = []
        self.target = self.another()

    def another(self, port: int = 0) -> LocalTarget:
        made = LocalTarget(
            self.state, gateway_port=port, limits=self._limits, patience=self._patience, policy=self._policy
        )
        self._made.append(made)
        return made

    def drive(self, plan: RunnerPlan) -> subprocess.Popen[str]:
        given = self.state.with_name("plan.pickle")
        given.write_bytes(pickle.dumps(plan))
        command = [sys.executable, "-m", "targets.driver", str(self.state), str(given)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])

    def hang_runner(self, ref: EndpointRef, deployment: str) -> None:
        os.kill(self.processes(ref, deployment)[0].pid, signal.SIGSTOP)

    def processes(self, ref: EndpointRef, deployment: str) -> list[ProcessIdentity]:
        folder = self.state / "deployments" / str(ref)
        records = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{deployment}/*/runner.json"))]
        found = [ProcessIdentity.model_validate(one["process"]) for one in records if one["process"]]
        return [identity for identity in found if alive(identity)]

    def runners(self, ref: EndpointRef, deployment: str) -> list[str]:
        return [f"{identity.pid} {identity.started}" for identity in self.processes(ref, deployment)]

    def kill_runner(self, ref: EndpointRef, deployment: str, number: int = 0) -> None:
        os.kill(self.processes(ref, deployment)[number].pid, signal.SIGKILL)

    def gateway_process(self) -> ProcessIdentity:
        return ProcessIdentity.model_validate_json((self.state / "gateway" / "envoy.json").read_text())

    def end(self) -> None:
        for target in self._made:
            target.end()
        stop_everything(self.state)
        assert stop_everything(self.state) == 0, "processes were left behind"


@contextmanager
def maintained(target: DeploymentTarget, every: float = 0.1) -> Iterator[None]:
    """The target is looked after, as the reconciler does it, while the block runs."""
    stop, failures = threading.Event(), []

    def work() -> None:
        while not stop.wait(every):
            try:
                target.maintain()
            except Exception as error:  # noqa: BLE001 - told below
                failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures


def settled(target: DeploymentTarget, plan: RunnerPlan, seconds: float = 60) -> Observation:
    """What a deployment comes to: all replicas ready, or failed."""
    name, replicas = plan.deployment.name, plan.deployment.replicas

    def seen() -> Observation | None:
        observation = target.observe(plan.ref)[name]
        done = observation.ready_replicas >= replicas or observation.state is RunnerState.FAILED
        return observation if done else None

    found: Observation = wait_until(seen, seconds, f"{name} to come up")
    return found


def bring_up(target: DeploymentTarget, *plans: RunnerPlan, route: bool = True) -> str:
    """Run deployments of one endpoint until they are ready, send all traffic to the first; the endpoint's URL."""
    for plan in plans:
        target.prepare(plan, lambda _words: None)
        target.run(plan)
    for plan in plans:
        observation = settled(target, plan)
        assert observation.state is RunnerState.READY, observation
    if route:
        target.route(RoutePlan(plans[0].ref, {plans[0].deployment.name: 100}))
    return f"{target.gateway_url()}/{plans[0].ref}"


def wait_for_step(driver: subprocess.Popen[str], step: str) -> None:
    """Wait until a driven server tells that it has done a step."""
    assert driver.stdout is not None
    assert any(line.strip() == step for line in driver.stdout), f"the server ended before it had {step}"
