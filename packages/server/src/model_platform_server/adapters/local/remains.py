"""What an earlier server left: taken over by the next one, or ended."""

from __future__ import annotations

import shutil
from pathlib import Path

from model_platform_core.refs import EndpointRef
from model_platform_server.adapters.local import processes, sockets
from model_platform_server.adapters.local.deployment import Deployment, read_plan
from model_platform_server.adapters.local.environments import end_builds
from model_platform_server.adapters.local.fork_servers import FORK_SERVERS
from model_platform_server.adapters.local.runner import Surroundings

DEPLOYMENTS = "deployments"  # their folder in the state directory


def take_over(state: Path, around: Surroundings) -> dict[tuple[EndpointRef, str], Deployment]:
    """The deployments that an earlier server left, with their processes.

    Folders without a plan are remains, and so are runners whose folder is gone: those end. Fork servers are taken over
    when something is to start.
    """
    folder = state / DEPLOYMENTS
    found = processes.running(f"{folder}/")
    deployments = {}
    for place in sorted(folder.glob("*/*/*")):
        plan = read_plan(place)
        if plan is None:
            shutil.rmtree(place)
            continue
        mine = {path: found.pop(path) for path in list(found) if path.startswith(f"{place}/")}
        deployment = Deployment(place, plan, around)
        deployment.adopt(mine)
        deployments[plan.ref, plan.deployment.name] = deployment
    processes.end([one for several in found.values() for one in several], grace=0)
    return deployments


def stop_everything(state_directory: Path, grace: float = 10.0) -> int:
    """End the gateway, all runners and all fork servers of a state directory; how many processes that were.

    What is to run stays written down: the next target on this directory starts it again.
    """
    state = state_directory.resolve()
    started_with = (f"{state / DEPLOYMENTS}/", f"{state / FORK_SERVERS}/", str(state / "gateway" / "bootstrap.json"))
    found = [one for several in processes.running(*started_with).values() for one in several]
    builds = end_builds(state / "environments")
    processes.end(found, grace)
    if state.is_dir():
        shutil.rmtree(sockets.socket_folder(state))
    return len(found) + builds
