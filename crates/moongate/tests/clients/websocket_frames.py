"""WebSocket frames, sound and broken, to a real server: what comes back has to be the same with the gateway between as without.

usage: websocket_frames.py server                  prints the port that it listens on, and serves until it is killed
       websocket_frames.py client HOST PORT        prints a line for each case: its name, and what the server sent until it closed
"""

import asyncio
import base64
import hashlib
import os
import socket
import struct
import sys

MASK = b"\x11\x22\x33\x44"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


async def serve():
    from websockets.asyncio.server import serve as listen
    from websockets.exceptions import ConnectionClosed

    async def echo(connection):
        try:
            async for message in connection:
                await connection.send(message)
        except ConnectionClosed:
            pass

    async with listen(echo, "127.0.0.1", 0, compression=None, ping_interval=None, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


def frame(opcode, payload=b"", final=True, reserved=0, masked=True):
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    size, bit = len(payload), 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    key = (MASK * (size // 4 + 1))[:size]
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return head + MASK + body


def close(code=1000, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


def echoed(*sizes):
    """Octets of messages of these sizes as a server sends them."""
    return sum(size + (2 if size < 126 else 4 if size < 65536 else 10) for size in sizes)


def cases():
    """Names, the pieces in which frames are sent, and for how many octets of an answer the client waits before it says goodbye;
    with none it leaves the last word to the server.

    What a server makes of a goodbye that comes before it has answered is a matter of luck, with or without a gateway.
    """
    for opcode in (TEXT, BINARY):
        for size in (0, 1, 125, 126, 127, 128, 65535, 65536, 1 << 20):
            yield f"message {opcode} {size}", [frame(opcode, b"*" * size)], echoed(size)
    whole = frame(TEXT, b"*" * 300)
    yield "octet by octet", [whole[at : at + 1] for at in range(len(whole))], echoed(300)
    for size in (0, 1, 125):
        yield f"ping {size}", [frame(PING, b"p" * size)], echoed(size)
    yield "pings without waiting", [b"".join(frame(PING, b"%d" % at) for at in range(10))], echoed(*[1] * 10)
    yield "unasked pong", [frame(PONG, b"p"), frame(TEXT, b"t")], echoed(1)
    yield "in fragments", [frame(TEXT, b"a", final=False) + frame(0, b"b", final=False) + frame(0, b"c")], echoed(3)
    yield "ping between", [frame(TEXT, b"a", final=False) + frame(PING, b"p") + frame(0, b"b")], echoed(1, 2)
    for text in ("\u03ba\u03cc\u03c3\u03bc\u03b5", "\U0010ffff"):
        octets = text.encode()
        for cut in range(len(octets)):
            pieces = [frame(TEXT, octets[:cut], final=False) + frame(0, octets[cut:])]
            yield f"cut text {text!a} {cut}", pieces, echoed(len(octets))
    messages = [b"%d" % at for at in range(1000)]
    yield "a thousand messages", [b"".join(frame(BINARY, one) for one in messages)], echoed(*map(len, messages))
    yield "ping too long", [frame(PING, b"p" * 126)], 0
    for reserved in (1, 2, 4, 7):
        yield f"reserved bits {reserved}", [frame(TEXT, b"t", reserved=reserved)], 0
    for opcode in (3, 7, 11, 15):
        yield f"reserved opcode {opcode}", [frame(opcode, b"x")], 0
    yield "not masked", [frame(TEXT, b"t", masked=False)], 0
    yield "fragmented ping", [frame(PING, b"p", final=False) + frame(0, b"q")], 0
    yield "continuation of nothing", [frame(0, b"a")], 0
    yield "message inside of a message", [frame(TEXT, b"a", final=False) + frame(TEXT, b"b")], 0
    for bad in (b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"ok\xe2\x82"):
        yield f"no text {bad.hex()}", [frame(TEXT, bad)], 0
    for code in (999, 1000, 1001, 1003, 1004, 1005, 1006, 1007, 1011, 1015, 1016, 2999, 3000, 4999, 5000, 65535):
        yield f"close {code}", [close(code, b"why")], 0
    yield "close with nothing", [frame(CLOSE)], 0
    yield "close with one octet", [frame(CLOSE, b"\x03")], 0
    yield "close with no text", [close(1000, b"\xff")], 0
    yield "after close", [close() + frame(TEXT, b"late")], 0


def converse(host, port, pieces, awaited):
    with socket.create_connection((host, port), 60) as stream:
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET /chat HTTP/1.1\r\nHost: ws.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        stream.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += stream.recv(1)
        assert received.startswith(b"HTTP/1.1 101 "), received
        back = b""
        try:
            for piece in pieces:
                stream.sendall(piece)
            while len(back) < awaited and (part := stream.recv(65536)):
                back += part
            if awaited:
                stream.sendall(close())
        except OSError:
            pass  # It closed before it had all; what it said is to be read still.
        try:
            while part := stream.recv(65536):
                back += part
        except ConnectionResetError:
            pass
        return back


def ask(host, port):
    for name, pieces, awaited in cases():
        back = converse(host, port, pieces, awaited)
        print(name, len(back), hashlib.sha256(back).hexdigest()[:16], back[:16].hex(), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["server"]:
        asyncio.run(serve())
    else:
        ask(sys.argv[2], int(sys.argv[3]))
