"""A real S3 server on loopback: Ceph's gateway with one monitor and one storage daemon that keeps all in memory.

Run as ``radosgw.py FOLDER PID``, it writes FOLDER/endpoint when it answers, and ends with the process PID, however that
ends: neither servers nor folder stay behind.
"""

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from threading import Thread

BINARIES = ("radosgw", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool", "radosgw-admin")
KEY = "AKIATEST"
SECRET = "secretsecret"  # noqa: S105, of a server that lives as long as the tests
_CONFIG = """
[global]
fsid = {fsid}
mon host = {monitor}
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
keyring = {folder}/keyring
ms mon client mode = crc
ms client mode = crc
mon data avail warn = 1
mon data avail crit = 0
[mon]
mon data = {folder}/mon
auth allow insecure global id reclaim = true
mon initial members = a
# Each change of the cluster waits for others to come along, a second by default; starting takes some ten of them.
paxos propose interval = 0.05
paxos min wait = 0.01
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd memory target = 939524096
[client.admin]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw thread pool size = 64
rgw data = {folder}/rgw
"""


def main(folder: Path, pid: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    Thread(target=end_with, args=(os.pidfd_open(pid),), daemon=True).start()
    servers: list[subprocess.Popen[bytes]] = []
    try:
        start(folder, servers)
        for server in servers:
            server.wait()
    finally:
        for server in reversed(servers):
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def end_with(process: int) -> None:
    """Tell the main thread to end as soon as another process does."""
    select.select([process], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def start(folder: Path, servers: list[subprocess.Popen[bytes]]) -> None:
    """Start all three; the folder has a short path, because sockets have at most about 100 characters."""
    port, *others = free_ports(3)
    fsid = str(uuid.uuid4())
    monitor = "[v2:127.0.0.1:{},v1:127.0.0.1:{}]".format(*others)
    config = folder / "ceph.conf"
    config.write_text(_CONFIG.format(folder=folder, fsid=fsid, monitor=monitor, port=port))
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    keyring, monmap = folder / "keyring", folder / "monmap"
    common = ("-c", config)

    run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    run(
        "ceph-authtool",
        keyring,
        "--gen-key",
        "-n",
        "client.admin",
        "--cap",
        "mon",
        "allow *",
        "--cap",
        "osd",
        "allow *",
    )
    run("monmaptool", "--create", "--addv", "a", monitor, "--fsid", fsid, monmap)
    run("ceph-mon", *common, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
    servers.append(serve("ceph-mon", *common, "-f", "-i", "a"))
    osd = str(uuid.uuid4())
    run("ceph", *common, "osd", "new", osd)
    run("ceph-osd", *common, "-i", "0", "--mkfs", "--osd-uuid", osd)
    run("ceph", *common, "osd", "crush", "add", "osd.0", "1.0", "host=h", "root=default")
    servers.append(serve("ceph-osd", *common, "-f", "-i", "0"))
    servers.append(serve("radosgw", *common, "-f", "-n", "client.admin"))
    keys = ("--access-key", KEY, "--secret-key", SECRET)
    endpoint = f"http://127.0.0.1:{port}"
    wait_for_answer(endpoint, servers)
    run("radosgw-admin", *common, "user", "create", "--uid", "test", "--display-name", "test", *keys)
    (folder / "endpoint.new").write_text(endpoint)
    (folder / "endpoint.new").rename(folder / "endpoint")


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL)


def serve(*command: object) -> subprocess.Popen[bytes]:
    """Start a server that dies with this process."""
    libc = ctypes.CDLL(None)
    return subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: libc.prctl(1, signal.SIGKILL),  # noqa: PLW1509, PR_SET_PDEATHSIG; it takes no lock
    )


def wait_for_answer(endpoint: str, servers: list[subprocess.Popen[bytes]]) -> None:
    """Until an anonymous request is answered; or until a server has ended, which says why on stderr."""
    while all(server.poll() is None for server in servers):
        try:
            urllib.request.urlopen(endpoint, timeout=5).close()  # noqa: S310, http to loopback
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit("a server has ended")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
