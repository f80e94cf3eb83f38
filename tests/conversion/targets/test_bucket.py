"""Conversion into a bucket of a real S3 server: the same store as in a folder, whatever happens on the way."""

import random
import re
import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread

import pandas as pd
import pytest
from helpers import short_lease
from helpers.paths import ENVIRONMENT, command_of

import s2cmc
from s2cmc.conversion.convert import conversion
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.verify.verification import verify
from s2cmc.storage.access import Access
from s2cmc.synthetic.make import make_release

LOCK = ".s2cmc-conversion/lock"
PLAN = ".s2cmc-conversion/plan.json"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def brisk(monkeypatch):
    """What a killed process held is free after two seconds."""
    monkeypatch.setattr("s2cmc.conversion.targets.bucket.Lease", short_lease.brisk)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Release of 2 scenes of 16 x 16 pixels."""
    return str(make_release(tmp_path_factory.mktemp("small") / "release", scenes=2, size=16))


@pytest.fixture
def url(bucket):
    return f"{bucket.url}/some/catalogue.zarr"


@pytest.fixture
def stopped(url, bucket, small, monkeypatch):
    """A conversion that failed after its second task."""
    stop(2, url, bucket, small, monkeypatch)
    return url


def stop(after: int, url, bucket, small, monkeypatch) -> None:
    """Begin a conversion that fails after so many tasks."""
    calls = []
    done = conversion._convert_task

    def convert_task(*args):
        calls.append(args)
        if len(calls) > after:
            raise OSError("the network is down")
        return done(*args)

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "_convert_task", convert_task)
        with pytest.raises(s2cmc.StoreError, match=r"cannot be written: the network is down.*same command resumes"):
            convert(small, url, access=bucket.access, workers=1)


def test_the_same_objects_as_in_a_folder(bucket, url, release, store):
    """Except when they were made, which the root document says."""
    report = convert(str(release), url, access=bucket.access)
    found = bucket.contents("some/catalogue.zarr/")
    folder = {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}
    assert report.nbytes == sum(map(len, found.values()))
    assert _timeless(found.pop("zarr.json")) == _timeless(folder.pop("zarr.json"))
    assert found == folder
    assert bucket.listed() == [f"some/catalogue.zarr/{key}" for key in sorted([*found, "zarr.json"])]
    assert verify(url, str(release), access=bucket.access) == []


def _timeless(root: bytes) -> bytes:
    return re.sub(rb'"[0-9a-f]{64}"|20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ converted|"date_created":"[^"]*"', b"", root)


def test_the_whole_bucket_can_be_the_store(bucket, small):
    convert(small, f"{bucket.url}/", access=bucket.access)
    assert verify(bucket.url, small, access=bucket.access) == []


def test_a_store_in_a_bucket_is_never_kept_by_caches(bucket, url, small):
    """It may be overwritten; what is published is not."""
    convert(small, url, access=bucket.access)
    for key in bucket.listed():
        head = bucket.head(key)
        assert head["CacheControl"] == "no-cache"
        assert head["ContentType"] == "application/json" if key.endswith(".json") else "application/octet-stream"


def test_an_unfinished_conversion_does_not_open_and_is_finished_by_its_command(bucket, stopped, run, monkeypatch):
    with pytest.raises(
        s2cmc.UnfinishedStoreError, match=r"is not complete; finish it with `s2cmc convert .*`"
    ) as error:
        s2cmc.open_catalogue(stopped, **bucket.options)
    _, *arguments = shlex.split(str(error.value).split("`")[1])
    assert arguments[-2:] == ["-o", f"endpoint_url={bucket.endpoint}"]
    assert bucket.access.secret not in arguments
    bucket.allow_all("GetObject")
    with pytest.raises(s2cmc.UnfinishedStoreError, match="is not complete"):  # anonymous, where absence is denied
        s2cmc.open_catalogue(stopped, endpoint_url=bucket.endpoint)
    answer = run(*arguments, *bucket.flags())
    assert answer.code == 0
    assert "resumed" in answer.out
    assert verify(stopped, access=bucket.access) == []


def test_the_lease_of_a_conversion_that_failed_or_ended_is_gone(bucket, stopped, small):
    below = "some/catalogue.zarr"
    assert f"{below}/{PLAN}" in bucket.listed()
    assert f"{below}/{LOCK}" not in bucket.listed()
    convert(small, stopped, access=bucket.access)
    assert not bucket.listed(f"{below}/.s2cmc")


def test_finished_tasks_are_not_done_again(bucket, stopped, small):
    assert convert(small, stopped, access=bucket.access).resumed == 2
    assert verify(stopped, small, access=bucket.access) == []


def test_a_finished_store_is_replaced_only_when_asked(bucket, url, small, tmp_path):
    other = str(make_release(tmp_path / "other", scenes=3, size=16))
    convert(other, url, access=bucket.access)
    before = bucket.contents()
    with pytest.raises(s2cmc.StoreError, match="is a finished store; use --overwrite to replace it"):
        convert(small, url, access=bucket.access)
    assert bucket.contents() == before
    convert(small, url, access=bucket.access, overwrite=True)
    assert verify(url, small, access=bucket.access) == []


def test_other_options_make_other_shards(bucket, stopped, small):
    convert(small, stopped, access=bucket.access, reflectance="float32")
    assert verify(stopped, small, access=bucket.access) == []


def test_shards_move_when_a_scene_before_them_is_left_out(bucket, url, tmp_path, monkeypatch):
    release = str(make_release(tmp_path / "release", scenes=3, size=16))
    stop(5, url, bucket, release, monkeypatch)  # masks, alternative masks, thumbnails and two scenes are done
    scenes = pd.read_csv(f"{release}/classification_tags.csv")["scene"].tolist()
    report = convert(release, url, access=bucket.access, skip=scenes[:1])
    assert report.resumed == 1  # of two finished scenes, the second is now the first
    assert verify(url, release, access=bucket.access) == []


@pytest.mark.parametrize(
    ("key", "content"),
    [("letter.txt", b""), ("below/letter.txt", b""), ("zarr.json", b'{"attributes": {}}'), ("zarr.json", b"[]")],
)
def test_what_is_no_catalogue_is_not_touched(bucket, url, small, key, content):
    bucket.put(f"some/catalogue.zarr/{key}", content)
    with pytest.raises(s2cmc.StoreError, match=r"is not empty and holds no catalogue of s2cmc; choose another place"):
        convert(small, url, access=bucket.access, overwrite=True)
    assert bucket.listed() == [f"some/catalogue.zarr/{key}"]


def test_neighbours_with_the_same_beginning_are_not_touched(bucket, url, small):
    names = ["some/catalogue.zarr.old/a", "some/catalogue", "some/catalogue.zarr2", "some/z"]
    for name in names:
        bucket.put(name, b"a neighbour")
    convert(small, url, access=bucket.access)
    convert(small, url, access=bucket.access, overwrite=True)
    assert [bucket.get(name) for name in names] == [b"a neighbour"] * 4


def test_without_rights_to_write_nothing_is_begun(bucket, url, small):
    bucket.allow_all("GetObject", "ListBucket")
    with pytest.raises(s2cmc.StoreError, match="access denied"):
        convert(small, url, access=Access(endpoint_url=bucket.endpoint, anonymous=True))
    assert bucket.listed() == []


def test_of_two_at_once_exactly_one_converts(bucket, small):
    """They start together; the other is told, or comes when all is done."""
    for attempt in range(2):
        url, together = f"{bucket.url}/{attempt}", Barrier(2)

        def work(_, url=url, together=together) -> str:
            together.wait()
            try:
                convert(small, url, access=bucket.access)
            except s2cmc.StoreError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(2) as pool:
            won, told = sorted(pool.map(work, range(2)))
        assert won == ""
        assert re.search(r"another conversion, .* into .* (is running|has just begun)|is a finished store", told)
        assert verify(url, small, access=bucket.access) == []


def test_who_was_succeeded_stops_and_spoils_nothing(bucket, url, small, tmp_path, monkeypatch):
    """The first pauses in the middle; another takes over with another release, and ends before it goes on."""
    other = str(make_release(tmp_path / "other", scenes=3, size=16))
    paused, go_on = Event(), Event()
    encode_block = conversion.encode_block

    def pause(plan, task):
        block = encode_block(plan, task)
        monkeypatch.setattr(conversion, "encode_block", encode_block)
        paused.set()
        go_on.wait(60)
        return block

    monkeypatch.setattr(conversion, "encode_block", pause)
    asleep = lambda *args: short_lease.Lease(*args, renewed_every=1000.0, expires_after=2.0)  # noqa: E731
    monkeypatch.setattr("s2cmc.conversion.targets.bucket.Lease", asleep)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(convert, small, url, access=bucket.access, workers=1)
        assert paused.wait(30)
        monkeypatch.setattr("s2cmc.conversion.targets.bucket.Lease", short_lease.brisk)
        convert(other, url, access=bucket.access, overwrite=True)
        go_on.set()
        with pytest.raises(s2cmc.StoreError, match=r"may have been taken over by another conversion.*resumes"):
            first.result()
    assert verify(url, other, access=bucket.access) == []


def test_readers_see_no_catalogue_then_an_unfinished_one_then_all_of_it(bucket, url, release, opened):
    seen: list[str] = []
    ended = Event()

    def look() -> None:
        while not seen or seen[-1] != "whole":
            last = ended.is_set()
            try:
                found = s2cmc.open_catalogue(url, **bucket.options)
                seen.append("whole" if found.load().identical(opened.assign_attrs(found.attrs)) else "part")
            except s2cmc.UnfinishedStoreError:
                seen.append("unfinished")
            except s2cmc.StoreError as error:
                seen.append("none" if "holds no catalogue" in str(error) else str(error))
            if last:
                break

    reader = Thread(target=look)
    reader.start()
    convert(str(release), url, access=bucket.access)
    ended.set()
    reader.join()
    assert [state for i, state in enumerate(seen) if seen[i - 1 : i] != [state]] == ["none", "unfinished", "whole"]


@pytest.mark.long
def test_sigkill_at_random_moments(bucket, url, release):
    """Kill the command again and again; then the same command completes a store that equals its source."""
    command = command_of(short_lease, "convert", release, url, "--workers", "2", *bucket.flags())
    root, plan = "some/catalogue.zarr/zarr.json", "some/catalogue.zarr/.s2cmc-conversion/plan.json"
    moments = random.Random(2018)  # noqa: S311, no secret
    killed = 0
    for _ in range(2):
        before = _written(bucket, plan)
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # Every run writes the plan anew when it begins to write: before that, a kill finds nothing to spoil.
        while process.poll() is None and _written(bucket, plan) == before:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.6))
        process.kill()
        output, _ = process.communicate()
        if process.returncode == 0 or root in bucket.listed(root):
            break
        assert process.returncode < 0, output.decode()
        killed += 1
        with pytest.raises(s2cmc.UnfinishedStoreError, match="is not complete"):
            s2cmc.open_catalogue(url, **bucket.options)
    assert killed, "no run was killed before it was complete"
    if root not in bucket.listed(root):
        subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
    assert verify(url, str(release), access=bucket.access) == []


def _written(bucket, key: str) -> object:
    """When an object was written, in a way; None where it is not there."""
    found = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=key).get("Contents")
    return found[0]["LastModified"] if found else None
