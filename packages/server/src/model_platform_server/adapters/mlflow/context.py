"""Who is asking: the actor of the request, known to every store below it. No actor, no answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from model_platform_core.access import Actor
from model_platform_core.errors import UnauthenticatedError

_actor: ContextVar[Actor | None] = ContextVar("mlflow_actor", default=None)


@contextmanager
def acting_as(actor: Actor) -> Iterator[Actor]:
    """Let everything inside happen in the name of `actor`. Threads that copy the context (anyio's) take it along."""
    token = _actor.set(actor)
    try:
        yield actor
    finally:
        _actor.reset(token)


def current_actor() -> Actor:
    """The actor of this context.

    Raises
    ------
    UnauthenticatedError
        If nobody is acting: reads are refused as well as writes.
    """
    actor = _actor.get()
    if actor is None:
        raise UnauthenticatedError("Nobody is signed in; set MLFLOW_TRACKING_TOKEN.")
    return actor
