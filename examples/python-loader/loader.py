"""An HTTP loader: a cache node asks it for a key that no node holds. Standard library only."""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_to_bytes

USERS = {b"ada": b"Ada Lovelace", b"grace": b"Grace Hopper", "jürgen/1".encode(): "Jürgen".encode()}

class Loader(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"     # connections stay open between loads
    disable_nagle_algorithm = True    # and answer without delay

    def do_GET(self):
        value = USERS.get(unquote_to_bytes(self.path.removeprefix("/users/")))
        self.send_response(404 if value is None else 200)
        if value is not None:
            self.send_header("Cache-Control", "max-age=60")
        self.send_header("Content-Length", str(len(value or b"")))
        self.end_headers()
        self.wfile.write(value or b"")

    def do_PUT(self):                 # not for the cache: so that you can change a value
        body = self.rfile.read(int(self.headers["Content-Length"]))
        USERS[unquote_to_bytes(self.path.removeprefix("/users/"))] = body
        self.send_response(204)
        self.end_headers()

server = ThreadingHTTPServer(("", int(sys.argv[1]) if len(sys.argv) > 1 else 8000), Loader)
print("listening on port", server.server_port, flush=True)
server.serve_forever()
