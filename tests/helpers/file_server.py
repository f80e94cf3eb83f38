"""A web server over a folder that writes down what was asked."""

import http.server
import re
import threading
from functools import partial
from pathlib import Path


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and ranges of them, as object stores do, and writes down what was asked."""

    def __init__(self, *args: object, log: list[tuple[str, str, int]], **kwargs: object) -> None:
        self.log = log
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not path.is_file() or not wanted:
            self.log.append(("GET", self.path, path.stat().st_size if path.is_file() else 0))
            super().do_GET()
            return
        content = path.read_bytes()
        first, last = wanted.groups()
        start = int(first) if first else len(content) - int(last)
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        self.log.append(("GET", self.path, stop - start))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(content[start:stop])

    def do_HEAD(self) -> None:
        self.log.append(("HEAD", self.path, 0))
        super().do_HEAD()

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        pass


class FileServer:
    """A local web server over a folder. `log` holds (method, path, bytes) of every request."""

    def __init__(self, folder: Path, handler: type[RangeHandler] = RangeHandler) -> None:
        self.log: list[tuple[str, str, int]] = []
        handler = partial(handler, directory=str(folder), log=self.log)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
