"""A Jupyter kernel, as a notebook has one: what users run is run and timed in it."""

from __future__ import annotations

import queue
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

_CELL_SECONDS = 300.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class CellError(RuntimeError):
    """A cell raised; the message is what the notebook would show."""


class Kernel:
    """A running kernel."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._client = client
        provisioner: Any = manager.provisioner
        self.pid = int(provisioner.pid)

    def run(self, cell: str) -> str:
        """Run a cell to its end; what it printed.

        Raises
        ------
        CellError
            If it raised.
        """
        return self.timed(cell)[1]

    def timed(self, cell: str) -> tuple[float, str]:
        """Seconds from sending a cell until the kernel is idle again, and what it printed.

        Raises
        ------
        CellError
            If it raised.
        """
        began = time.perf_counter()
        sent = self._client.execute(cell)
        printed: list[str] = []
        trouble = ""
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=_CELL_SECONDS)
            except queue.Empty:
                raise CellError(f"This cell did not end within {_CELL_SECONDS:g} s:\n{cell}") from None
            if message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                break
            if kind == "stream" and content["name"] == "stdout":
                printed.append(content["text"])
            elif kind == "error":
                trouble = _COLOURS.sub("", "\n".join(content["traceback"]))
        seconds = time.perf_counter() - began
        if trouble:
            raise CellError(f"{cell}\n{trouble[-1500:]}")
        return seconds, "".join(printed)


@contextmanager
def kernel(environment: Mapping[str, str], folder: Path) -> Iterator[Kernel]:
    """A fresh kernel of this Python that runs in a folder; it has ended afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=dict(environment), cwd=str(folder), extra_arguments=["--IPKernelApp.log_level=ERROR"])
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
