"""A package index with one package in TLS: `python3 index.py CERTIFICATE KEY`. Prints its port, and then each request."""

import base64
import hashlib
import http.server
import io
import ssl
import sys
import zipfile

WHEEL = "demo_package-1.0-py3-none-any.whl"


def wheel():
    info = "demo_package-1.0.dist-info"
    files = {
        "demo_package.py": b"",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: demo-package\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    records = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        records.append(f"{name},sha256={digest},{len(content)}\n")
    files[f"{info}/RECORD"] = ("".join(records) + f"{info}/RECORD,,\n").encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


class Index(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    package = wheel()

    def do_GET(self):
        pages = {
            "/simple/demo-package/": ("text/html", f'<a href="/files/{WHEEL}">{WHEEL}</a>'.encode()),
            f"/files/{WHEEL}": ("application/octet-stream", self.package),
        }
        kind, body = pages.get(self.path, ("text/plain", b"not found"))
        self.send_response(200 if self.path in pages else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
