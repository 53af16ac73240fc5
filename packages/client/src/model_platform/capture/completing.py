"""A fingerprint that takes longer than a publish waits: sent when it is known, or given up when the session ends."""

from __future__ import annotations

import contextlib

from model_platform.capture.fingerprint import Fingerprinting
from model_platform.client import Client
from model_platform_core.errors import ModelPlatformError
from model_platform_core.refs import VersionRef
from model_platform_core.wire import LineageCompletion

_AT_EXIT_SECONDS = 3.0


def complete_later(client: Client, ref: VersionRef, running: Fingerprinting) -> None:
    """Complete a version's lineage as soon as the fingerprint is known; the data may be changed from now on.

    When the interpreter ends, it is waited for briefly, then recorded as *not fingerprinted*.
    """
    running.detach()

    def send() -> None:
        running.wait(None)
        with contextlib.suppress(ModelPlatformError):  # then it stays pending: a gap in the lineage stops nobody
            client.complete_lineage(ref, LineageCompletion(data=(running.result,)))

    def end() -> None:
        if not running.wait(_AT_EXIT_SECONDS):
            running.give_up("the session ended before its digest was computed")

    client.beside.start("lineage", send, end)
