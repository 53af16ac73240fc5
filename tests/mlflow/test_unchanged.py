"""What is the last version once more makes no version; asked for a new one, it does."""

from __future__ import annotations

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from governed_mlflow.world import MLMODEL, World, kinds
from model_platform_core.cards import CodeReference, ModelCard
from model_platform_core.environments import EnvironmentRecord
from model_platform_core.lineage import Lineage
from model_platform_server.adapters.database import tables

CARD = ModelCard(purpose="Decide who is called")
LINEAGE = Lineage(environment=EnvironmentRecord(python="3.11.9", platform="x86_64-linux", packages=("numpy==2.0.0",)))


def archive(address: int, weight: str = "1.0") -> bytes:
    """As skops writes it: members are called by addresses, and each time is another."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        file.writestr(zipfile.ZipInfo(f"{address}.npy", (2000 + address % 100, 1, 1, 0, 0, 0)), weight)
        file.writestr("schema.json", json.dumps({"content": f"{address}.npy", "__id__": address}))
    return written.getvalue()


class Publisher:
    """Publishes one model again and again."""

    def __init__(self, world: World, folder: Path) -> None:
        self.ana, self.server = world.ana, world.server
        self._folder = world.server.state / folder.name
        self._count = 0

    def publish(self, skops: bytes, *, card: ModelCard = CARD, lineage: Lineage = LINEAGE, **more: object) -> int:
        self._count += 1
        described = MLMODEL + f"utc_time_created: 2025-01-0{self._count % 9 + 1}\nmodel_uuid: {self._count}\n"
        files = {"MLmodel": described, "model.skops": skops, "model_platform/lineage/cells.py": f"{self._count}"}
        folder = self._folder / str(self._count)
        (folder / "model_platform" / "lineage").mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        known = {"card": card, "lineage": lineage, "new": False, **more}
        return int(
            self.server.call("register", self.ana.actor, self.ana.registration("churn", folder, **known)).version
        )


def test_the_same_again_is_the_last_version(every_world: World, tmp_path: Path) -> None:
    publisher, zone = Publisher(every_world, tmp_path), every_world.ana.actor.home_zone or ""
    assert publisher.publish(archive(11)) == 1
    noticed = kinds(every_world.server.events(zone))
    elsewhere = CARD.model_copy(update={"code": CodeReference(path="other.ipynb", dirty=True)})
    assert publisher.publish(archive(27), card=elsewhere) == 1
    assert kinds(every_world.server.events(zone)) == noticed
    assert len(every_world.ana.ok("runs/search", experiment_ids=[_experiment(every_world)])["runs"]) == 1


def _experiment(world: World) -> str:
    return str(world.ana.found("experiments/get-by-name", experiment_name="churn")["experiment"]["experiment_id"])


def test_whatever_counts_makes_a_version(every_world: World, tmp_path: Path) -> None:
    publisher = Publisher(every_world, tmp_path)
    newer = LINEAGE.model_copy(
        update={"environment": EnvironmentRecord(python="3.11.9", platform="x86_64-linux", packages=("numpy==2.1.0",))}
    )
    assert publisher.publish(archive(11)) == 1
    assert publisher.publish(archive(11, "2.0")) == 2
    assert publisher.publish(archive(11, "2.0"), lineage=newer) == 3
    assert publisher.publish(archive(11, "2.0"), lineage=newer, card=ModelCard(purpose="Decide who is mailed")) == 4
    assert publisher.publish(archive(11, "2.0"), lineage=newer, card=ModelCard(purpose="Decide who is mailed")) == 4
    assert publisher.publish(archive(11, "1.0")) == 5, "version 1 once more, but it is not the last one"
    assert publisher.publish(archive(11, "1.0"), new=True) == 6


def test_the_last_version_gets_the_aliases(every_world: World, tmp_path: Path) -> None:
    publisher = Publisher(every_world, tmp_path)
    assert publisher.publish(archive(11)) == publisher.publish(archive(12), aliases=("champion",)) == 1
    [alias] = every_world.server.rows(tables.aliases, zone=every_world.ana.actor.home_zone)
    assert (alias.alias, alias.version) == ("champion", 1)


def test_the_same_twice_at_once_is_one_version(every_world: World, tmp_path: Path) -> None:
    publishers = [Publisher(every_world, tmp_path / str(number)) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        numbers = set(pool.map(lambda one: one.publish(archive(11)), publishers))
    assert numbers == {1}
