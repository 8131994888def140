"""The studio's web server: some files to read, for browsers on this machine alone."""

import http.server
from collections.abc import Mapping

from bundles.errors import PerfRnnError
from perf_rnn.studio.site import PAGE, POLICY, File

ADDRESS = "127.0.0.1"
_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Server(http.server.ThreadingHTTPServer):
    """Answers GET and HEAD for a fixed map of files, on the loopback address.

    A request must name this machine as its host, so that no other site can read the files under a
    name of its own that it lets point here (DNS rebinding).
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, File], port: int):
        """Listens at once; `serve_forever` answers.

        Args:
          files: by path relative to the page, see `site.make_site`.
          port: to listen on; 0: a free one.

        Raises:
          PerfRnnError: the port is taken or not allowed.
        """
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise PerfRnnError(
                f"port {port} cannot be used ({getattr(error, 'strerror', None) or error}); "
                "--port=0 takes a free one"
            ) from error
        self.files = {f"/{path}": file for path, file in files.items()}
        self.files["/"] = self.files[f"/{PAGE}"]
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = sys_version = ""
    timeout = 60  # Seconds until a silent connection is closed.
    server: Server

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        if self.headers.get_all("Host") not in [[host] for host in self.server.hosts]:
            self.send_error(403)
            return
        file = self.server.files.get(self.path.partition("?")[0])
        if not file:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", file.content_type)
        self.send_header("Content-Length", str(len(file.data)))
        self.end_headers()
        if with_body:
            self.wfile.write(file.data)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet: what is asked for is of no interest."""
