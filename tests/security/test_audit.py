"""The audit of the lock: red on what is known, loud and green where nobody can tell."""

import datetime
import http.server
import json
import runpy
import threading

import pytest
from helpers.paths import ROOT

pytestmark = pytest.mark.slow

AUDIT = runpy.run_path(str(ROOT / ".ci" / "audit.py"))
TODAY = datetime.date(2026, 11, 23)
LOCK = "".join(f"{name}==1.0 --hash=sha256:{digit * 64}\n" for name, digit in (("first", "a"), ("second", "b")))
ACCEPTED = """
[[accepted]]
id = "CVE-2026-1"
package = "second"
reason = "synthetic"
until = 2026-12-31
"""


class _Service(http.server.BaseHTTPRequestHandler):
    """Answers as https://google.github.io/osv.dev/post-v1-query/ says: the second package has a vulnerability."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        affected = [{"package": {"name": asked, "ecosystem": "PyPI"}, "ranges": []}]
        found = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "summary": "synthetic", "affected": affected}
        content = json.dumps({"vulns": [found]} if asked == "second" else {}).encode()
        self.send_response(503 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def service():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def audit(tmp_path, service):
    """Audit a lock of two packages: exit code, and what is said."""

    def run(accepted: str = "", *, lock: str = LOCK, where: str = service, required: bool = False):
        (tmp_path / "lock").write_text(lock)
        (tmp_path / "accepted.toml").write_text(accepted)
        code, lines = AUDIT["audit"](tmp_path / "lock", tmp_path / "accepted.toml", where, TODAY, required=required)
        return code, "\n".join(lines)

    return run


def test_a_known_vulnerability_is_red(audit):
    code, said = audit()
    assert code == 1
    assert "second 1.0: PYSEC-2026-1, CVE-2026-1; fixed in no version" in said


def test_nothing_known_is_green(audit):
    assert audit(lock=LOCK.splitlines()[0]) == (
        0,
        "1 packages of lock audited, 0 vulnerabilities accepted: nothing known",
    )


def test_an_accepted_vulnerability_is_green_until_its_day(audit, tmp_path):
    code, said = audit(ACCEPTED)
    assert (code, said) == (0, "2 packages of lock audited, 1 vulnerabilities accepted: nothing known")
    last = datetime.date(2026, 12, 31)
    assert dict(AUDIT["_accepted"](tmp_path / "accepted.toml", last)) == {("second", "CVE-2026-1"): "synthetic"}
    assert dict(AUDIT["_accepted"](tmp_path / "accepted.toml", last + datetime.timedelta(1))) == {}


@pytest.mark.parametrize(
    "wrong", [("until = 2026-12-31", ""), ('"synthetic"', '""'), ("2026-12-31", '"never"'), ("[[accepted]]", "[[acc")]
)
def test_what_is_accepted_has_reason_and_end(audit, wrong):
    code, said = audit(ACCEPTED.replace(*wrong))
    assert code == 1
    assert "accepted.toml: " in said


@pytest.mark.parametrize("where", ["http://127.0.0.1:9", "http://nowhere.invalid", "broken"])
def test_a_service_that_does_not_answer_is_loud_and_green(audit, service, where):
    code, said = audit(where=f"{service}/broken" if where == "broken" else where)
    assert code == 0
    assert "NOT AUDITED" in said


def test_before_a_release_it_must_answer(audit):
    code, said = audit(where="http://127.0.0.1:9", required=True)
    assert code == 1
    assert "NOT AUDITED" in said


def test_a_lock_that_cannot_be_read_is_red(audit):
    code, said = audit(lock="first==1.0 --hash=sha256:nothing\nsecond>1\n")
    assert code == 1
    assert "the audit broke: " in said


def test_what_is_accepted_now_can_be_read():
    accepted = dict(AUDIT["_accepted"](ROOT / ".ci" / "accepted.toml", TODAY))
    assert all(reason for reason in accepted.values())
