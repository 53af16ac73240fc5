"""Large files on their way: the memory of client and server stays where it was, whether they are sent or laid beside."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.servers import RunningServer

SIZE = 64 << 20
SPARE = 24 << 20
"""What may be needed beyond what was needed before, in bytes: a few blocks, and what the allocator keeps."""

PUBLISHER = """
import resource, sys
from pathlib import Path
from model_platform.capture.upload import list_files, upload
from model_platform.client import connect
from model_platform.display.progress import Progress

def send(folder):
    files = list_files(Path(folder))
    upload_id = upload(client, "large", Path(folder), files, Progress.silent(), ours=sys.argv[3] == "laid")
    client.discard_upload(upload_id)

client = connect()
send(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
send(sys.argv[2])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def folder_of(path: Path, size: int) -> Path:
    """A folder with one file of bytes that do not repeat for long."""
    path.mkdir()
    with (path / "weights.bin").open("wb") as file:
        for number in range(size >> 20):
            file.write(number.to_bytes(4, "big") * (1 << 18))
    return path


def peak(pid: int) -> int:
    """The most memory that a process has had since its peak was forgotten, in bytes."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) * 1024


@pytest.mark.parametrize("way", ["sent", "laid"])
def test_memory_stays_flat(server: RunningServer, tmp_path: Path, way: str) -> None:
    small, large = folder_of(tmp_path / "small", 2 << 20), folder_of(tmp_path / "large", SIZE)
    pid = server.discovery["pid"]
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the peak
    before = peak(pid)
    done = subprocess.run(
        [sys.executable, "-c", PUBLISHER, str(small), str(large), way],
        env=server.environment | {"MP_HOME": str(server.state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < SPARE
    assert peak(pid) - before < SPARE
