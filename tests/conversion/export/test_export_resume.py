"""Exports into what others have left: gone on with after every interruption, joined, replaced, or refused."""

import random
import signal
import subprocess
import sys
import time

import pytest
from helpers.exports import WRITTEN, contents, export_all, three_scenes

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export import scenes
from s2cmc.conversion.export.scenes import Exported, export
from s2cmc.conversion.targets.folder import Folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def names(opened) -> list[str]:
    return three_scenes(opened)


@pytest.fixture(scope="module")
def whole(store, names, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """What uninterrupted exports of these scenes write, by format."""
    return export_all(store, names, tmp_path_factory.mktemp)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_there_is_kept_and_what_is_missing_written_again(store, names, whole, tmp_path, name):
    first = export(str(store), str(tmp_path), format=name, scenes=names)
    count, nbytes = len(whole[name]), sum(map(len, whole[name].values()))
    assert first == Exported(3, count, 0, nbytes)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    gone = tmp_path / min(whole[name])
    gone.unlink()
    assert export(str(store), str(tmp_path), format=name, scenes=names) == Exported(3, 1, count - 1, nbytes)
    assert contents(tmp_path) == whole[name]
    changed = {path for path, stamp in before.items() if path.stat().st_mtime_ns != stamp}
    assert {path for path in changed if ".s2cmc-export" not in path.parts} == {gone}


def test_more_scenes_of_the_same_store_join_those_that_are_there(store, names, whole, tmp_path):
    export(str(store), str(tmp_path), scenes=names[:2])
    done = export(str(store), str(tmp_path), scenes=names)
    assert done.kept > 0
    assert done.others == 0
    assert contents(tmp_path) == whole["cog"]
    of_one = [path for path in whole["cog"] if path.startswith(names[1])]
    again = export(str(store), str(tmp_path), scenes=names[1:2])
    assert (again.scenes, again.kept, again.others) == (1, len(of_one), len(whole["cog"]) - len(of_one))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"format": "geotiff"}, "another format;"),
        ({"bands": ["B04"]}, "another bands;"),
        ({"format": "npz"}, "another format and scenes and parts;"),
    ],
)
def test_another_choice_goes_to_another_place_or_replaces(store, names, tmp_path, asked, said):
    export(str(store), str(tmp_path / "out"), scenes=names)
    with pytest.raises(s2cmc.StoreError, match=f"holds an export of {said} choose another place, or use --overwrite"):
        export(str(store), str(tmp_path / "out"), scenes=names, **asked)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    export(str(store), str(tmp_path / "out"), scenes=names[:1], overwrite=True, **asked)
    export(str(store), str(tmp_path / "new"), scenes=names[:1], **asked)
    assert contents(tmp_path / "out") == contents(tmp_path / "new") | {"notes.txt": b"mine"}


def test_a_release_of_other_scenes_is_another(store, names, tmp_path):
    """Its table holds just these."""
    export(str(store), str(tmp_path), format="npy", scenes=names[:2])
    with pytest.raises(s2cmc.StoreError, match="an export of another scenes;"):
        export(str(store), str(tmp_path), format="npy", scenes=names)


def test_an_export_of_another_store_is_not_gone_on_with(release, store, names, tmp_path):
    convert(str(release), str(tmp_path / "other.zarr"), scenes=names)
    export(str(store), str(tmp_path / "out"), scenes=names)
    with pytest.raises(s2cmc.StoreError, match="an export of another store;"):
        export(str(tmp_path / "other.zarr"), str(tmp_path / "out"), scenes=names)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"files": []}'])
def test_a_damaged_journal_is_never_built_on(store, names, tmp_path, content):
    export(str(store), str(tmp_path), scenes=names[:1])
    (tmp_path / ".s2cmc-export" / "plan.json").write_bytes(content)
    with pytest.raises(s2cmc.StoreError, match="another store and format and bands"):
        export(str(store), str(tmp_path), scenes=names[:1])
    export(str(store), str(tmp_path), scenes=names[:1], overwrite=True)


def test_of_two_runs_at_once_the_second_is_refused(store, names, tmp_path, monkeypatch):
    write_files = scenes._write_files

    def try_another(*args: object) -> None:
        monkeypatch.setattr(scenes, "_write_files", write_files)
        with pytest.raises(s2cmc.StoreError, match=r"another .* into .* is running; wait for it"):
            export(str(store), str(tmp_path), scenes=names)
        write_files(*args)

    monkeypatch.setattr(scenes, "_write_files", try_another)
    assert export(str(store), str(tmp_path), scenes=names, workers=1).kept == 0


@pytest.mark.parametrize("name", ["cog", "npz"])
def test_it_goes_on_after_a_failure_at_any_write(store, names, whole, tmp_path, monkeypatch, name):
    """What is there is whole: it equals what an uninterrupted run writes; a release has its table last."""
    put = Folder.put
    count = len(whole[name])
    for at in sorted({2, 3, 5, count // 2, count, count + 1}):  # the first write is that of the journal
        written = []

        def fail(self: Folder, key: str, value: bytes, **how: bool) -> str:
            written.append(key)  # noqa: B023, of this round
            if len(written) >= at:  # noqa: B023
                raise OSError("no space left on device")
            return put(self, key, value, **how)

        out = tmp_path / str(at)
        with monkeypatch.context() as patch:
            patch.setattr(Folder, "put", fail)
            with pytest.raises(s2cmc.StoreError, match=r"cannot be written: no space.*the same command resumes"):
                export(str(store), str(out), format=name, scenes=names, workers=1)
        found = contents(out)
        assert len(found) == at - 2
        assert found.items() <= whole[name].items()
        assert "classification_tags.csv" not in found or len(found) == count - 1  # SYNTHETIC.txt comes after it
        assert all(f"{path}.aux.xml" in found for path in found if path.endswith("mask.tif"))
    assert export(str(store), str(out), format=name, scenes=names).kept == count - 1
    assert contents(out) == whole[name]


@pytest.mark.long
def test_sigkill_at_random_moments_and_the_same_again(store, names, whole, tmp_path):
    code = "import sys; from s2cmc.conversion import export; a = sys.argv[1:]; "
    code += "export(a[0], a[1], scenes=a[2:], workers=2)"
    command = [sys.executable, "-c", code, store, tmp_path / "out", *names]
    moments = random.Random(2018)  # noqa: S311, no secret
    plan, killed = tmp_path / "out" / ".s2cmc-export" / "plan.json", 0
    for _ in range(2):
        before = plan.stat().st_mtime_ns if plan.exists() else 0
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        # Every run writes its plan anew before it writes files.
        while process.poll() is None and not (plan.exists() and plan.stat().st_mtime_ns > before):
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        output = process.communicate()[1]
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, output.decode()
        killed += 1
        finished = {path: value for path, value in contents(tmp_path / "out").items() if "#" not in path}
        assert finished.items() <= whole["cog"].items()
    assert killed, "no run was killed before it was complete"
    (tmp_path / "out" / f"{min(whole['cog'])}#1").write_bytes(b"half")  # a kill may leave such a one
    (tmp_path / "out" / "issue#17").write_bytes(b"mine")
    export(str(store), str(tmp_path / "out"), scenes=names)
    assert contents(tmp_path / "out") == whole["cog"] | {"issue#17": b"mine"}
