"""One writer at a time in a bucket of a real S3 server, whatever happens to the others."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import obstore
import pytest
from helpers.http_proxy import Fault, Proxy
from obstore.exceptions import GenericError

import s2cmc
from s2cmc.conversion.targets.bucket import EXPIRES_AFTER, RENEWED_EVERY, Bucket, Lease
from s2cmc.storage.access import Access
from s2cmc.storage.connections import object_store

KEY = "journal/lock"
NEVER = 1000.0  # seconds

pytestmark = pytest.mark.slow


@pytest.fixture
def place(bucket):
    return object_store(bucket.url, bucket.access)


@pytest.fixture
def lease(place, bucket):
    """Makes leases of one place, by default brisk ones."""

    def make(renewed_every=0.1, expires_after=1.0, store=place):
        return Lease(store, KEY, bucket.url, renewed_every, expires_after)

    return make


def test_it_is_an_object_that_is_there_while_it_is_held(bucket, lease):
    with lease().held():
        assert bucket.listed() == [KEY]
    assert bucket.listed() == []


def test_it_is_renewed_well_before_it_expires():
    assert EXPIRES_AFTER >= 5 * RENEWED_EVERY


def test_another_is_told_who_holds_it(lease):
    said = rf"another conversion, export .* into s3://.* is running \(.*, process {os.getpid()}\); wait for it, or stop"
    with lease().held(), pytest.raises(s2cmc.StoreError, match=said), lease().held():
        pass
    with lease().held():
        pass


def test_it_is_held_longer_than_it_lasts(lease):
    first = lease()
    with first.held():
        time.sleep(2.5 * first.expires_after)
        first.check()


def test_of_many_at_once_exactly_one_gets_it(lease):
    for _ in range(5):
        assert _holders_of_many(lease) == 1


def test_of_many_exactly_one_gets_what_a_killed_holder_left(bucket, lease):
    for _ in range(3):
        bucket.put(KEY, b'{"owner": "killed"}')
        assert _holders_of_many(lease) == 1


def _holders_of_many(lease) -> int:
    """How many of 8 that try at once hold a place that nobody lets go until all have tried."""
    all_tried = threading.Barrier(8)

    def attempt(_) -> bool:
        with ExitStack() as stack:
            try:
                stack.enter_context(lease().held())
            except s2cmc.StoreError as error:
                assert "another conversion" in str(error)  # noqa: PT017, the others held it
                all_tried.wait(30)
                return False
            all_tried.wait(30)
            return True

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(attempt, range(8)))


def test_a_holder_that_does_not_renew_it_is_succeeded_and_stops(lease):
    slow, brisk = lease(renewed_every=NEVER), lease()
    with slow.held():
        slow.check()
        with brisk.held():
            with pytest.raises(s2cmc.StoreError, match=r"may have been taken over.*could not renew.* for 1 s.*resumes"):
                slow.check()
            brisk.check()


def test_a_holder_that_was_out_of_reach_finds_itself_succeeded(bucket, lease):
    """It renews again, and learns that another has renewed since; long before its own count has run out."""
    with Proxy(bucket.endpoint) as proxy:
        store = object_store(bucket.url, Access(**bucket.options | {"endpoint_url": proxy.url}, timeout=2.0))
        away = lease(store=store, expires_after=NEVER)
        with away.held():
            proxy.faults = [Fault("reset")]
            with lease().held():
                away.check()
                proxy.faults = []
                _until(away._lost.is_set)
                with pytest.raises(s2cmc.StoreError, match="may have been taken over"):
                    away.check()


def test_a_moment_out_of_reach_is_no_loss(bucket, lease):
    with Proxy(bucket.endpoint) as proxy:
        store = object_store(bucket.url, Access(**bucket.options | {"endpoint_url": proxy.url}, timeout=2.0))
        held = lease(store=store, expires_after=20.0)
        with held.held():
            proxy.faults = [Fault("reset", times=8)]
            before = bucket.get(KEY)
            _until(lambda: proxy.faults[0].times == 0 and bucket.get(KEY) != before)
            held.check()


def test_a_renewal_whose_answer_is_lost_is_no_loss(bucket, lease):
    """The entity tag is another one than the last that was told, but the token is its own."""
    held = lease(expires_after=20.0)
    with held.held():
        held._mark = {"e_tag": '"0123456789abcdef0123456789abcdef"'}
        before = bucket.get(KEY)
        _until(lambda: bucket.get(KEY) != before)
        held.check()


def test_who_was_succeeded_unawares_does_not_let_go_of_what_another_holds(bucket, lease):
    """As a machine that slept, and whose conversion fails as soon as it wakes."""
    slow, brisk = lease(renewed_every=NEVER, expires_after=NEVER), lease()
    with ExitStack() as stack:
        with slow.held():
            stack.enter_context(brisk.held())
        assert bucket.listed() == [KEY]
        with pytest.raises(s2cmc.StoreError, match="another conversion"):
            stack.enter_context(lease().held())


def test_a_slow_answer_does_not_make_it_last_longer(bucket, lease):
    """Others count from when the renewal arrived, not from when its sender learned of that."""
    with Proxy(bucket.endpoint, rtt=0.4) as proxy:
        store = object_store(bucket.url, Access(**bucket.options | {"endpoint_url": proxy.url}))
        far = lease(store=store, renewed_every=NEVER)
        with far.held():  # a new connection and a request: 0.8 s
            time.sleep(0.3)
            with pytest.raises(s2cmc.StoreError, match="may have been taken over"):
                far.check()


def test_a_bucket_writes_nothing_once_its_lease_is_lost(bucket, monkeypatch):
    monkeypatch.setattr(
        "s2cmc.conversion.targets.bucket.Lease", lambda *args: Lease(*args, renewed_every=NEVER, expires_after=3.0)
    )
    place = Bucket(bucket.url, bucket.access)
    with place.claimed(KEY):
        place.put("a", b"while it is held")
        time.sleep(3.1)
        for write in (lambda: place.put("b", b""), lambda: place.remove("a")):
            with pytest.raises(s2cmc.StoreError, match="may have been taken over"):
                write()
    assert bucket.contents().keys() - {KEY} == {"a"}


def test_a_put_only_where_there_is_none(bucket):
    place = Bucket(bucket.url, bucket.access)
    place.put("zarr.json", b"first", new=True)
    place.put("zarr.json", b"first", new=True)  # the same again, as after an answer that was lost
    with pytest.raises(s2cmc.StoreError, match=r"zarr\.json has been written by another in the meantime"):
        place.put("zarr.json", b"second", new=True)
    assert bucket.get("zarr.json") == b"first"


def test_of_many_that_replace_the_same_object_exactly_one_does(bucket):
    place = Bucket(bucket.url, bucket.access)
    for before in (None, b"0"):
        with ThreadPoolExecutor(8) as pool:
            passed = list(pool.map(lambda i, before=before: place.replace("a", before, b"%d" % i), range(1, 9)))
        assert sum(passed) == 1
        assert bucket.get("a") == b"%d" % (1 + passed.index(True))
        bucket.put("a", b"0")


def _until(is_so, seconds=20.0) -> None:
    given_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < given_up
        time.sleep(0.02)


def test_without_rights_or_bucket_the_message_says_so(bucket):
    for options, said in (({"secret": "wrong"}, "access denied"), ({}, "there is no such bucket")):
        url = bucket.url if options else f"{bucket.url}-not"
        place = Bucket(url, Access(**bucket.options | options))
        with pytest.raises(s2cmc.StoreError, match=said), place.claimed(KEY):
            pass
    assert list(obstore.list(object_store(bucket.url, bucket.access))) == []


@pytest.mark.parametrize("error", [OSError("no space left"), GenericError("no space left")])
def test_what_fails_while_it_is_held_is_told_as_it_is(bucket, error):
    with pytest.raises(type(error), match="no space left") as raised, Bucket(bucket.url, bucket.access).claimed(KEY):
        raise error
    assert raised.value is error
    assert bucket.listed() == []
