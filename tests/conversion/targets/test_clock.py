"""A clock that jumps, by years in both directions: nothing is lost, and nobody takes what another holds."""

import os
import time
from pathlib import Path

import pytest
from helpers.targets import state_of

import s2cmc
from s2cmc.conversion.convert import conversion
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.targets.bucket import Lease
from s2cmc.storage.cache import DiskCache
from s2cmc.storage.connections import object_store
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow

YEARS = 10 * 365 * 86400.0  # seconds
JUMPS = pytest.mark.parametrize("jump", [YEARS, -YEARS], ids=["forward", "back"])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """Sets the time of day off by some seconds, as time servers, hands and dead batteries do."""
    told = time.time
    return lambda jump: monkeypatch.setattr(time, "time", lambda: told() + jump)


@JUMPS
def test_a_lease_outlasts_it(bucket, clock, jump):
    place = object_store(bucket.url, bucket.access)
    held = Lease(place, "lock", bucket.url, renewed_every=0.1, expires_after=2.0)
    other = Lease(place, "lock", bucket.url, renewed_every=0.1, expires_after=2.0)
    with held.held():
        clock(jump)
        held.check()
        with pytest.raises(s2cmc.StoreError, match="another conversion"), other.held():
            pass
        held.check()


@JUMPS
def test_a_started_conversion_of_any_time_is_resumed(jump, tmp_path, monkeypatch):
    """Times of change of its files are no part of what is compared."""

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    release, store = make_release(tmp_path / "release", scenes=2, size=16), tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "_publish", stop)
        with pytest.raises(KeyboardInterrupt):
            convert(str(release), str(store))
    for path in store.rglob("*"):
        os.utime(path, (time.time() + jump,) * 2)
    assert convert(str(release), str(store)).resumed == 5
    assert state_of(store, {"release": release}) == "release"


@JUMPS
def test_a_cache_goes_on(jump, clock, tmp_path):
    cache = DiskCache(tmp_path / "cache", size=10_000)
    cache.put("before", b"kept")
    staged = tmp_path / "cache" / "of another process"
    staged.write_bytes(b"half")
    clock(jump)
    assert cache.get("before") == b"kept"
    for number in range(20):
        cache.put(f"after {number}", bytes(1000))
    assert cache.get("after 19") == bytes(1000)
    files = [path for path in Path(tmp_path / "cache").iterdir() if path.suffix == ".bytes"]
    assert sum(path.stat().st_size for path in files) <= 10_000
