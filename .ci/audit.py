"""Known vulnerabilities of what requirements.lock names: ``audit.py [--required] [LOCK [ACCEPTED [SERVICE]]]``.

Asks OSV (https://osv.dev) by pip-audit about every package and version of the lock that this platform installs.
Exit code 1: a known vulnerability, an acceptance without reason or end, or an audit that itself broke. Exit code 0 and
a loud word: the service could not be asked, or not about everything; what others fail to answer is no fault of a
change. With ``--required``, as before a release, that is exit code 1 too.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SERVICE = "https://api.osv.dev/v1/query"
_PATIENCE = 10  # seconds for an answer
_AT_MOST = 300  # seconds for all of them
_UNANSWERED = ("requests.exceptions.", "pip_audit._service.interface.", "Could not connect")
"""How pip-audit ends where the service does not answer, or not as it should."""


def audit(lock: Path, accepted: Path, service: str, today: datetime.date, *, required: bool) -> tuple[int, list[str]]:
    """Exit code, and what there is to say."""
    try:
        ignored = dict(_accepted(accepted, today))
    except (OSError, ValueError) as error:
        return 1, [f"{accepted}: {error}"]
    unanswered = 1 if required else 0
    try:
        found = _ask(lock, service)
    except ConnectionError as error:
        return unanswered, _loud(f"no package of {lock.name} was audited: {error}")
    except RuntimeError as error:
        return 1, [f"the audit broke: {error}"]
    lines, unknown = [], []
    for package in found:
        if "skip_reason" in package:
            unknown.append(f"{package['name']}: {package['skip_reason']}")
        told = (_told(package, vulnerability, ignored) for vulnerability in package.get("vulns", ()))
        lines += [line for line in told if line]
    if lines:
        return 1, [f"{len(lines)} known vulnerabilities in {lock.name}:", *lines]
    if not found or unknown:
        return unanswered, _loud(f"{len(unknown)} of {len(found)} packages of {lock.name} were not audited", *unknown)
    return 0, [f"{len(found)} packages of {lock.name} audited, {len(ignored)} vulnerabilities accepted: nothing known"]


def _accepted(path: Path, today: datetime.date) -> Iterator[tuple[tuple[str, str], str]]:
    """Package and identifier of what is accepted today, with the reason."""
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("accepted", ()):
        until = entry.get("until")
        if type(until) is not datetime.date or not all(entry.get(name) for name in ("id", "package", "reason")):
            raise ValueError(f"{entry}: expected id, package, reason and a date until")
        if today <= until:
            yield (entry["package"], entry["id"]), entry["reason"]


def _ask(lock: Path, service: str) -> list[dict[str, Any]]:
    """What pip-audit finds of each package."""
    options = ["--requirement", str(lock), "--disable-pip", "--require-hashes", "--format", "json", "--aliases", "on"]
    options += ["--vulnerability-service", "osv", "--osv-url", service, "--timeout", str(_PATIENCE)]
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", *options]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_AT_MOST, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(f"{service} took more than {_AT_MOST} s") from error
    try:
        return list(json.loads(ended.stdout)["dependencies"])
    except (ValueError, KeyError) as error:
        said = ended.stderr.strip().splitlines() or ["nothing was said"]
        if any(sign in said[-1] for sign in _UNANSWERED):
            raise ConnectionError(said[-1]) from error
        raise RuntimeError("\n".join(said[-5:])) from error


def _told(package: dict[str, Any], vulnerability: dict[str, Any], ignored: dict[tuple[str, str], str]) -> str | None:
    names = [vulnerability["id"], *vulnerability.get("aliases", ())]
    if any((package["name"], name) in ignored for name in names):
        return None
    fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no version"
    return f"  {package['name']} {package['version']}: {', '.join(names)}; fixed in {fixed}"


def _loud(*lines: str) -> list[str]:
    bar = "!" * 100
    return [bar, "NOT AUDITED. Nothing is known of vulnerabilities in the lock; run `make audit` again.", *lines, bar]


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit, say what came of it, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--required", action="store_true")
    parser.add_argument("lock", nargs="?", type=Path, default=ROOT / "requirements.lock")
    parser.add_argument("accepted", nargs="?", type=Path, default=ROOT / ".ci" / "accepted.toml")
    parser.add_argument("service", nargs="?", default=SERVICE)
    chosen = parser.parse_args(arguments)
    today = datetime.datetime.now(datetime.UTC).date()
    code, lines = audit(chosen.lock, chosen.accepted, chosen.service, today, required=chosen.required)
    sys.stderr.write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
