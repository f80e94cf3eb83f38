"""Clusters that grow from nothing, go away, lack packages, or have little memory."""

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from distributed import Client, KilledWorker, LocalCluster
from helpers.clusters import objects_of, on

import s2cmc
from s2cmc.conversion.convert import cluster as scheduling
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.layout.arrays import pixel_arrays, shard_objects, store_objects
from s2cmc.conversion.targets.journal import Target
from s2cmc.schema.catalogue import SCENE_COORDINATES

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_an_adaptive_cluster_grows_from_nothing_and_converts_and_reduces(release, store, tmp_path):
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        monitor = pytest.MonkeyPatch()
        monitor.setattr(scheduling, "PATIENCE", 0.2)
        with pytest.raises(s2cmc.CatalogueError, match=r"no worker has come to .* in 0\.2 s; start some"):
            convert(str(release), str(tmp_path / "store"), scheduler=client)
        monitor.setattr(scheduling, "PATIENCE", 120.0)  # workers of a busy machine take long to start
        cluster.adapt(minimum=0, maximum=2, interval="200ms")
        convert(str(release), str(tmp_path / "store"), scheduler=client)
        monitor.undo()
        assert objects_of(tmp_path / "store") == objects_of(store)
        opened = s2cmc.open_catalogue(store)
        found = on(client, opened.clouds.class_counts)
    xr.testing.assert_identical(found, opened.clouds.class_counts().compute())


def test_a_scheduler_that_goes_away_is_one_message_and_what_is_done_is_resumed(release, store, tmp_path):
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0")

    def end(done: int, total: int) -> None:
        if done:
            cluster.close()

    with pytest.raises(s2cmc.CatalogueError, match=r"(?s)the cluster .* is gone.*; what is done is kept"):
        convert(str(release), str(tmp_path / "store"), scheduler=cluster.scheduler_address, progress=end)
    assert convert(str(release), str(tmp_path / "store")).resumed > 0
    assert objects_of(tmp_path / "store") == objects_of(store)


def test_a_worker_without_the_extra_is_refused(release, tmp_path):
    blocked = "import sys; sys.modules['PIL'] = None"
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0", preload=[blocked]) as c,
        Client(c, set_as_default=False) as client,
        pytest.raises(s2cmc.CatalogueError, match=r"1 of 1 workers .*\n.*PIL.*; it needs s2cmc\[convert\]"),
    ):
        convert(str(release), str(tmp_path / "store"), scheduler=client)


def large_store(folder: Path, scenes: int, size: int) -> Path:
    """A store of the same random scene again and again, encoded once."""
    arrays = pixel_arrays(
        scenes, (size, size), reflectance="uint16", mask_dtype="bool", alt_mask_dtype="bool", thumbnail=None
    )
    coordinates = {c.name: np.zeros(scenes, c.dtype) for c in SCENE_COORDINATES}
    coordinates["scene"] = np.array([f"scene {i}" for i in range(scenes)], object)
    attributes = {"format": "s2cmc", "format_version": s2cmc.schema.FORMAT_VERSION}
    digests = {array.key(first): "0" * 64 for array in arrays.values() for first, _ in array.spans()}
    objects = store_objects(arrays, coordinates, attributes, digests)
    pixels = np.random.default_rng(0).integers(0, 10_000, (1, size, size, 13)).astype("uint16")
    (shard,) = shard_objects(arrays["reflectance"], 0, pixels).values()
    objects |= {f"reflectance/c/{i}/0/0/0": bytes(shard) for i in range(scenes)}
    for first, last in arrays["mask"].spans():
        objects |= shard_objects(arrays["mask"], first, np.zeros((last - first, size, size), "uint8"))
    Target(str(folder)).write(objects)
    return folder


def test_memory_too_small_for_the_scenes_is_enough_for_their_reduction(tmp_path):
    scenes, size = 36, 512
    opened = s2cmc.open_catalogue(large_store(tmp_path / "store", scenes, size))
    assert opened.reflectance.nbytes > 480e6
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.worker.memory.spill": False}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit="600MB"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        found = on(client, opened.clouds.band_statistics)
        assert (found["count"] == scenes * size**2).all()
        assert (found["max"] < 1).all()
        with pytest.raises(KilledWorker, match="all those workers died"):
            client.submit(lambda ds: ds.reflectance.load(scheduler="sync").nbytes, opened).result()
