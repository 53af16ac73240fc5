"""From a borrowed environment to a model's own: which are to be built, who takes over, and what is said of it."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from dataclasses import replace

from model_platform_core.errors import EnvironmentFailedError, ModelPlatformError
from model_platform_core.wire import EnvironmentInfo, EnvironmentState
from model_platform_server.adapters.local.building import Build, Builder, Stage
from model_platform_server.adapters.local.deployment import Deployment
from model_platform_server.adapters.local.environments import Environment, Environments
from model_platform_server.adapters.local.requirements import Needs
from model_platform_server.adapters.local.settings import EnvironmentPolicy
from model_platform_server.ports import Borrowed, FirstBuild, Observation, RunnerPlan, RunnerState
from model_platform_server.settings import OwnEnvironments

_STATES = {
    Stage.WAITING: EnvironmentState.WANTED,
    Stage.BUILDING: EnvironmentState.BUILDING,
    Stage.FAILED: EnvironmentState.FAILED,
}


class Moves:
    """Sees to it that deployments come from borrowed environments into their own."""

    def __init__(self, environments: Environments, policy: EnvironmentPolicy) -> None:
        self._environments = environments
        self._policy = policy
        self._builder = Builder(environments, policy)

    def environment(self, plan: RunnerPlan, home: str | None) -> Environment:
        """Where a runner starts: in the environment of this hash, or in the borrowed one.

        Raises
        ------
        EnvironmentFailedError
            If that is not there any more.
        """
        found = self._environments.at(home) if home else self._environments.borrowed(plan)
        if found is not None:
            return found
        why = "The environment that was built for the model is not there any more."
        raise EnvironmentFailedError(
            why if home else self._environments.why_not_borrowed(plan),
            hint=f"%mp_deploy {plan.deployment.model.rpartition('.')[2]}:{plan.deployment.version}",
        )

    def look_after(self, deployments: Sequence[Deployment], now: float) -> None:
        """Have built what is due, and let those move whose environment is there."""
        wanted: dict[str, RunnerPlan] = {}
        for deployment in deployments:
            try:
                key = deployment.needs.key
            except ModelPlatformError:
                continue  # the version's folder cannot be read: told by who looks after the endpoint
            there, stuck = self._environments.has(key), _lacks_environment(deployment)
            if not there and (stuck or deployment.home == key or self._is_due(deployment, now)):
                wanted[key] = deployment.plan
            with deployment.lock:
                if there and stuck and deployment.home == key:
                    deployment.forget_failures()
                elif there and (stuck or self._policy.own is not OwnEnvironments.NEVER):
                    deployment.succeed(key)
        self._builder.want(wanted)

    def _is_due(self, deployment: Deployment, now: float) -> bool:
        since = deployment.answered_since
        later = self._policy.own is not OwnEnvironments.NEVER and deployment.refused is None
        return later and since is not None and now - since >= self._policy.after

    def told(self, deployment: Deployment, seen: Observation) -> Observation:
        """What was seen of a deployment, with what is to be said of where it runs."""
        said = self._stage_words(deployment)
        if seen.failure is not None and _lacks_environment(deployment):
            failure = seen.failure.model_copy(update={"message": f"{seen.failure.message} {said[1]}"})
            return replace(seen, failure=failure, successor=deployment.successor is not None)
        if seen.state is not RunnerState.READY:
            return seen
        borrowed = Borrowed(*said) if deployment.home is None else None
        waits = deployment.successor is not None
        return replace(seen, borrowed=borrowed, successor=waits, first_build=self._first_build(deployment))

    def _first_build(self, deployment: Deployment) -> FirstBuild | None:
        """What the lock's environment was made of, if it was built here and the lock does not know."""
        try:
            needs = deployment.needs
        except ModelPlatformError:
            return None
        lock, platform = needs.lock, sysconfig.get_platform()
        if lock is None or platform in lock.digests:
            return None
        digests = self._environments.digests(needs.key)
        return FirstBuild(lock.lock_sha256, platform, digests) if digests else None

    def _stage_words(self, deployment: Deployment) -> tuple[str, str]:
        """A word and a sentence on how far a deployment's own environment is."""
        if deployment.refused is not None:
            return (
                deployment.refused.code,
                f"It does not serve in an environment of its own: {deployment.refused.message}",
            )
        build = self._stage(deployment)
        if build is not None and build.failure is not None:
            return build.failure.code, f"Its own cannot be built yet and is tried again: {build.failure.message}"
        if build is not None and build.stage is Stage.BUILDING:
            return "Building", "Its own is being built."
        if deployment.moving:
            return "Proving", "Its own is built and is being tried."
        if self._policy.own is OwnEnvironments.NEVER and not _lacks_environment(deployment):
            return "Kept", "This server builds one of its own only when that does not do any more."
        return "Waiting", "Its own is built soon."

    def _stage(self, deployment: Deployment) -> Build | None:
        try:
            return self._builder.stage(deployment.needs.key)
        except ModelPlatformError:
            return None

    # ---------------------------------------------------------------- what there is

    def infos(self, deployments: Sequence[Deployment]) -> list[EnvironmentInfo]:
        """Environments that were built, and those that deployments wait for."""
        users, needed = self._users(deployments)
        found = {
            one.key: EnvironmentInfo(
                key=one.key,
                state=EnvironmentState.BUILT,
                python=one.description.python,
                packages=one.description.packages,
                bytes=one.bytes,
                made_at=one.description.made_at,
                used_by=tuple(sorted(users.get(one.key, ()))),
            )
            for one in self._environments.kept()
        }
        for key in users.keys() - found.keys():
            needs, build = needed[key], self._builder.stage(key)
            found[key] = EnvironmentInfo(
                key=key,
                state=_STATES[build.stage] if build else EnvironmentState.WANTED,
                python=needs.python,
                packages=needs.lines,
                used_by=tuple(sorted(users[key])),
                message=build.failure.message if build and build.failure else "",
            )
        return sorted(found.values(), key=lambda one: (not one.used_by, one.used_by, one.key))

    def prune(self, deployments: Sequence[Deployment]) -> list[EnvironmentInfo]:
        """Remove what no deployment uses, live or warm."""
        unused = [one for one in self.infos(deployments) if one.state is EnvironmentState.BUILT and not one.used_by]
        for one in unused:
            self._environments.remove(one.key)
        self._environments.remove_wheels(keep=self._users(deployments)[0])
        return unused

    def _users(self, deployments: Sequence[Deployment]) -> tuple[dict[str, set[str]], dict[str, Needs]]:
        """Endpoints by the hash of what they need, and what that is."""
        users: dict[str, set[str]] = {}
        needs: dict[str, Needs] = {}
        for deployment in deployments:
            try:
                key = deployment.needs.key
            except ModelPlatformError:
                continue
            users.setdefault(key, set()).add(str(deployment.plan.ref))
            needs[key] = deployment.needs
            if deployment.home:
                users.setdefault(deployment.home, set()).add(str(deployment.plan.ref))
                needs.setdefault(deployment.home, deployment.needs)
        return users, needs

    def end(self) -> None:
        """Give up what is being built."""
        self._builder.end()


def _lacks_environment(deployment: Deployment) -> bool:
    """Whether runners could not start because their environment was gone."""
    return deployment.failed_with(EnvironmentFailedError.code)
