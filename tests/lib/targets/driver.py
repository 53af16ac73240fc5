"""A server that does nothing but bring one deployment up, in a process that the tests kill: STATE PLAN."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from model_platform_server.ports import RoutePlan
from targets.harness import LocalHarness, settled

if __name__ == "__main__":
    target = LocalHarness(Path(sys.argv[1])).target
    plan = pickle.loads(Path(sys.argv[2]).read_bytes())
    print("begun", flush=True)
    target.run(plan)
    print("run", flush=True)
    settled(target, plan)
    print("ready", flush=True)
    target.route(RoutePlan(plan.ref, {plan.deployment.name: 100}))
    print("routed", flush=True)
    sys.stdin.read()
