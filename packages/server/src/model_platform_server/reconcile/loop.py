"""The loop that moves what is observed towards what is desired: one worker per endpoint at a time, several endpoints at once."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

from model_platform_core.deployments import Endpoint
from model_platform_core.events import EventType
from model_platform_core.models import UNDO_FOR
from model_platform_core.refs import EndpointRef
from model_platform_server.reconcile.endpoint import EndpointReconciler
from model_platform_server.services.platform import Platform

TICK_SECONDS = 1.0
SWEEP_SECONDS = 300.0
TRY_AGAIN_SECONDS = 5.0
STOP_SECONDS = 5.0
ABANDONED_AFTER = dt.timedelta(days=1)

TOUCHES_WHAT_RUNS = frozenset({EventType.CARD_REVISED, EventType.LINEAGE_COMPLETED, EventType.ZONE_RESIZED})
"""What changes how a deployment runs though nobody asked anything of its endpoint."""

log = logging.getLogger(__name__)


class Reconciler:
    """Runs until it is stopped. Whatever it was doing then is taken up by the next server: every step is idempotent."""

    def __init__(self, platform: Platform, workers: int = 8) -> None:
        self._platform = platform
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="reconcile")
        self._busy: set[EndpointRef] = set()
        self._again: set[EndpointRef] = set()
        self._trouble: dict[EndpointRef, float] = {}  # when to try again
        self._under_way: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._seen = platform.events.last_id()
        self._next_tick = 0.0
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> bool:
        """Stop between steps; what runs goes on running. False if some step does not come to its end in time."""
        self._stopping.set()
        self._platform.changes.reconciler.set()
        self._platform.target.end()
        self._thread.join(STOP_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not wait(set(self._under_way), STOP_SECONDS).not_done

    def _run(self) -> None:
        first, swept = True, -SWEEP_SECONDS
        while not self._stopping.is_set():
            self._platform.changes.reconciler.clear()
            try:
                for ref in self._due(everything=first):
                    self._submit(ref)
                first = False
                if time.monotonic() - swept >= SWEEP_SECONDS:
                    self._sweep()
                    swept = time.monotonic()
            except Exception:
                # The database may be away for a moment; the next tick tries again, and the data plane goes on.
                log.exception("the reconciler could not look around")
            self._platform.changes.reconciler.wait(max(0.0, self._next_tick - time.monotonic()))

    def _sweep(self) -> None:
        """Clear away what clients began and never ended, and tell runners anew which tokens are revoked."""
        self._platform.target.revoke(self._platform.actors.revoked_endpoint_tokens())
        self._platform.uploads.sweep(self._platform.clock.now() - ABANDONED_AFTER)
        if self._platform.registry.ready():
            self._platform.registry.sweep()
            self._platform.registry.purge(self._platform.clock.now() - UNDO_FOR)

    def _due(self, *, everything: bool) -> set[EndpointRef]:
        due = self._maintained()
        gone = self._platform.target.known()  # minus those that are there: what was deleted is cleared away
        now = self._platform.clock.now()
        touched = self._touched()
        cursor: str | None = None
        while True:
            page = self._platform.endpoints.page(None, cursor=cursor)
            for endpoint in page.items:
                gone.discard(endpoint.ref)
                expired = any(one.warm_until and one.warm_until <= now for one in endpoint.status.deployments)
                waits = self._trouble.get(endpoint.ref)
                again = waits is not None and waits <= time.monotonic()
                asked = everything or expired or not endpoint.settled or not touched.isdisjoint(_made_of(endpoint))
                if again or (waits is None and asked):
                    due.add(endpoint.ref)
            cursor = page.next_cursor
            if cursor is None:
                return due | gone

    def _maintained(self) -> set[EndpointRef]:
        """Have the target look after what runs, once in a tick: who only changed a spec is not to wait for that."""
        if time.monotonic() < self._next_tick:
            return set()
        try:
            return self._platform.target.maintain()
        finally:
            self._next_tick = time.monotonic() + TICK_SECONDS

    def _touched(self) -> set[str]:
        """The models and zones of which something was said since the last look that changes how they run."""
        found: set[str] = set()
        while events := self._platform.events.after(self._seen, None):
            found.update(one.subject for one in events if one.type in TOUCHES_WHAT_RUNS)
            self._seen = events[-1].id
        return found

    def _submit(self, ref: EndpointRef) -> None:
        with self._lock:
            if ref in self._busy:
                self._again.add(ref)
                return
            self._busy.add(ref)
        future = self._pool.submit(self._work, ref)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)

    def _work(self, ref: EndpointRef) -> None:
        try:
            fine = EndpointReconciler(self._platform, ref, self._stopping).reconcile()
        except Exception:
            log.exception("endpoint %s could not be reconciled; it is tried again", ref)
            fine = False
        finally:
            with self._lock:
                self._busy.discard(ref)
                if fine:
                    self._trouble.pop(ref, None)
                else:
                    self._trouble[ref] = time.monotonic() + TRY_AGAIN_SECONDS
                again = ref in self._again and not self._stopping.is_set()
                self._again.discard(ref)
            if again:
                self._submit(ref)


def _made_of(endpoint: Endpoint) -> set[str]:
    return {endpoint.zone, *(one.spec.model for one in endpoint.status.deployments)}
