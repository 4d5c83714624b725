"""A site's server that an intruder has taken over: it has the server's TLS key and whatever it is told to serve, and
tells everybody to install one version. Arguments: port, certificate, key, directory to serve as /tuf, version."""

import http.server
import json
import ssl
import sys
import time

port, certificate, key, directory, version = int(sys.argv[1]), *sys.argv[2:6]
DIRECTIVE = {
    "product": "connector",
    "decision": "required",
    "version": version,
    "deadline": "2026-01-01T00:00:00Z",
    "policy": "silent",
    "server": version,
    "why": "an intruder says so",
}


class TakenOver(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments):
        super().__init__(*arguments, directory=directory)

    def do_GET(self):
        if self.path.startswith("/v1/push"):
            return self.push()
        if not self.path.startswith("/tuf/"):
            return self.send_error(404)
        self.path = self.path[len("/tuf"):]
        super().do_GET()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.startswith("/v1/push"):
            return self.push()
        if self.path != "/v1/check-in/device":
            return self.send_error(404)
        answer = json.dumps({"v": 1, "directives": [DIRECTIVE], "next_check_in_seconds": 60}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        print("told a PC to install", version, flush=True)

    def push(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            while True:
                event = json.dumps({"v": 1, "why": "an intruder says so"})
                self.wfile.write(f"data: {event}\n\n".encode())
                time.sleep(3)
        except OSError:
            self.close_connection = True


server = http.server.ThreadingHTTPServer(("127.0.0.1", port), TakenOver)
server.daemon_threads = True
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("taken over", flush=True)
server.serve_forever()
