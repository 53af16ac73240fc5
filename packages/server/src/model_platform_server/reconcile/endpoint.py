"""One endpoint: from its spec to what runs and answers, in idempotent steps, and back into its status."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress

from model_platform_core.deployments import DeploymentStatus, Endpoint, EndpointState, EndpointStatus
from model_platform_core.errors import ModelPlatformError
from model_platform_core.refs import EndpointRef
from model_platform_server.ports import Observation, RoutePlan, RunnerState
from model_platform_server.reconcile.change import Change, SupersededError
from model_platform_server.reconcile.move import keep_digests, move
from model_platform_server.reconcile.plans import runner_plan
from model_platform_server.reconcile.status import StatusWriter, failure_of, state_of
from model_platform_server.services.platform import Platform

log = logging.getLogger(__name__)


class EndpointReconciler:
    """Moves one endpoint one step of the way, or all of it."""

    def __init__(self, platform: Platform, ref: EndpointRef, stopping: threading.Event) -> None:
        self._platform = platform
        self._ref = ref
        self._stopping = stopping

    def reconcile(self) -> bool:
        """Look at the endpoint and do what is due; False if something was in the way and it is to be tried again."""
        endpoint = self._platform.endpoints.get(self._ref)
        if endpoint is None:
            self._remove_all_but(set())
        elif endpoint.spec.stopped:
            self._stop(endpoint)
        elif not endpoint.settled:
            self._change(endpoint)
        else:
            return self._maintain(endpoint)
        return True

    def _remove_all_but(self, keep: set[str]) -> None:
        if not keep:
            self._platform.target.route(RoutePlan(self._ref, {}))
        for name in self._platform.target.observe(self._ref):
            if name not in keep:
                self._platform.target.remove(self._ref, name)

    def _stop(self, endpoint: Endpoint) -> None:
        self._remove_all_but(set())
        live = endpoint.status.live()
        history = endpoint.status.history if live is None else (live, *endpoint.status.history)
        status = EndpointStatus(
            state=EndpointState.STOPPED,
            message="stopped; nothing runs",
            observed_generation=endpoint.generation,
            history=history,
            url=endpoint.status.url,
        )
        StatusWriter(self._platform, endpoint).write(status)

    def _change(self, endpoint: Endpoint) -> None:
        """A new spec: keep what is live alive, and bring the new deployment up beside it."""
        self._run_live(endpoint)
        try:
            Change(self._platform, endpoint, self._stopping).carry_out()
        except SupersededError:
            self._platform.changes.notify()  # a newer spec, or the server stops: whoever looks next begins afresh
            return
        latest = self._platform.endpoints.get(self._ref)
        if latest is not None and latest.settled:
            self._maintain(latest)

    def _run_live(self, endpoint: Endpoint) -> None:
        for name in endpoint.status.traffic.weights:
            found = endpoint.status.deployment(name)
            if found is not None:
                try:
                    self._platform.target.run(runner_plan(self._platform, endpoint, found.spec))
                except ModelPlatformError as error:  # no reason not to try the change, which may be the cure
                    log.warning("%s on %s: %s", name, self._ref, error)

    # ---------------------------------------------------------------- settled endpoints

    def _maintain(self, endpoint: Endpoint) -> bool:
        """Nothing new is asked for: what has traffic runs and is routed, what is warm stays warm until its time."""
        keep = self._kept(endpoint)
        try:
            for one in keep.values():
                self._platform.target.run(runner_plan(self._platform, endpoint, one.spec))
            self._remove_all_but(set(keep))
            if endpoint.status.traffic.weights:
                self._platform.target.route(RoutePlan(self._ref, endpoint.status.traffic.weights))
        except ModelPlatformError as error:
            self._write_trouble(endpoint, error)
            return False
        fine = True
        for name, seen in self._platform.target.observe(self._ref).items():
            if seen.successor and name in keep:
                try:
                    keep[name] = move(self._platform, endpoint, keep[name])
                except ModelPlatformError as error:
                    log.warning("%s on %s stays in its borrowed environment for now: %s", name, self._ref, error)
                    fine = False
            if seen.first_build and name in keep:
                with suppress(ModelPlatformError):  # what was deleted meanwhile
                    keep_digests(self._platform, keep[name], seen.first_build)
        self._write_observed(endpoint, keep, self._platform.target.observe(self._ref))
        return fine

    def _kept(self, endpoint: Endpoint) -> dict[str, DeploymentStatus]:
        now, weights = self._platform.clock.now(), endpoint.status.traffic.weights
        return {
            one.spec.name: one
            for one in endpoint.status.deployments
            if one.spec.name in weights or (one.warm_until is not None and one.warm_until > now)
        }

    def _write_trouble(self, endpoint: Endpoint, error: ModelPlatformError) -> None:
        state = EndpointState.FAILED if endpoint.status.traffic.weights else endpoint.status.state
        status = endpoint.status.model_copy(update={"state": state, "message": error.message})
        StatusWriter(self._platform, endpoint).write(status)

    def _write_observed(
        self, endpoint: Endpoint, keep: Mapping[str, DeploymentStatus], seen: Mapping[str, Observation]
    ) -> None:
        deployments = tuple(
            [_observed(one, seen.get(name)) for name, one in keep.items()]
            + [one for one in endpoint.status.deployments if one.failure and one.spec.name not in keep]
        )
        writer, weights = StatusWriter(self._platform, endpoint), endpoint.status.traffic.weights
        update: dict[str, object] = {
            "deployments": deployments,
            "conditions": writer.with_borrowed(endpoint.status.conditions, weights, seen),
        }
        if weights:
            state, message = state_of(endpoint.status, deployments)
            update |= {"state": state, "message": message}
        writer.write(endpoint.status.model_copy(update=update))


def _observed(one: DeploymentStatus, seen: Observation | None) -> DeploymentStatus:
    if seen is None:
        return one.model_copy(update={"ready_replicas": 0})
    failure = failure_of(seen) if seen.state is RunnerState.FAILED else None
    update = {"ready_replicas": seen.ready_replicas, "restarts": seen.restarts, "failure": failure}
    return one.model_copy(update=update)
