"""Frames of HTTP/2 by hand, and a gateway to send them to: for the attacks in this folder."""
import collections
import os
import subprocess
import tempfile
import time
import urllib.request
import world

BACKEND, SILENT = 18290, 18291
# Takes connections, reads what comes and answers nothing.
NOTHING = """import asyncio, sys
async def serve(reader, writer):
    while await reader.read(65536):
        pass
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096) as server:
        await server.serve_forever()
asyncio.run(main())
"""
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
NAMES = {0: "DATA", 1: "HEADERS", 3: "RST_STREAM", 4: "SETTINGS", 6: "PING", 7: "GOAWAY", 8: "WINDOW_UPDATE"}
ERRORS = {0: "NO_ERROR", 1: "PROTOCOL_ERROR", 7: "REFUSED_STREAM", 8: "CANCEL", 11: "ENHANCE_YOUR_CALM"}


def frame(kind, flags, stream, content=b""):
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


def text(octets):
    """A string of HPACK, as it is."""
    length = len(octets)
    if length < 127:
        return bytes([length]) + octets
    rest, coded = length - 127, b"\x7f"
    while rest >= 128:
        coded, rest = coded + bytes([rest % 128 | 128]), rest // 128
    return coded + bytes([rest]) + octets


def request(authority, method=b"\x82"):
    """GET or another method of the static table, http, /, and the authority, which does not go into the table."""
    return method + b"\x86\x84\x01" + text(authority)


def received(connection):
    """What came, by kind of frame and code; what is there now is read."""
    connection.setblocking(False)
    read = b""
    try:
        while piece := connection.recv(1 << 20):
            read += piece
    except OSError:
        pass
    seen = collections.Counter()
    while len(read) >= 9:
        length, kind = int.from_bytes(read[:3], "big"), read[3]
        content, read = read[9:9 + length], read[9 + length:]
        name = NAMES.get(kind, str(kind))
        if kind in (RESET, GOAWAY):
            code = int.from_bytes(content[4:8] if kind == GOAWAY else content[:4], "big")
            name += " " + ERRORS.get(code, str(code))
        seen[name] += 1
    return seen


def asks(port, count):
    """How many requests of another client are answered."""
    answered = 0
    for _ in range(count):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/small", headers={"Host": "host-0.example.com"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                answered += answer.status == 200
        except OSError:
            pass
    return answered


def settle(gateway, limit=30):
    """Waits until the gateway does no more, or for so many seconds."""
    begun, last = time.monotonic(), -1.0
    while time.monotonic() < begun + limit:
        now = world.precise_cpu_seconds(gateway.process.pid)
        if now - last < 0.02 and last >= 0:
            return
        last = now
        time.sleep(0.5)


class Gateway:
    """A gateway with two hosts. `host-0` is nginx, which answers `/` with a body of some size and `/small` with a small one; `host-1` answers
    nothing."""

    def __init__(self, body=2, http2=False):
        self.folder = tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o755)
        config = os.path.join(self.folder.name, "config")
        os.mkdir(config)
        world.lay_out(config, 2, BACKEND, 2)
        self.change(config, 1, f"http: {BACKEND}", f"http: {SILENT}")
        if http2:
            self.change(config, 0, "protocol: HTTP}", "protocol: HTTP2}")
        self.backend = world.files(BACKEND, self.folder.name, {"index.html": body, "small": 2}, http2)
        self.silent = subprocess.Popen(["python3", "-c", NOTHING, str(SILENT)], start_new_session=True)
        self.process, _ = world.start(config, 1, *os.environ.get("MOONGATE_FLAGS", "").split())

    @staticmethod
    def change(config, host, before, after):
        path = os.path.join(config, f"hosts-{host}.yaml")
        with open(path) as file:
            hosts = file.read()
        assert before in hosts, f"{before} is not in {path}"
        world.write(path, hosts.replace(before, after))

    def memory_mb(self):
        return world.resident_mb(self.process.pid)

    def peak_mb(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        world.stop(self.process)
        for backend in (self.backend, self.silent):
            world.stop(backend)
        self.folder.cleanup()
