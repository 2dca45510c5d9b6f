"""A client of gRPC-Web, as a browser has it: HTTP/1.1, and no trailers.

usage: grpc_web.py ADDRESS      asks grpc_interop.py's server at ADDRESS, and prints the name of each case that went well
"""

import base64
import http.client
import struct
import sys

SERVICE = "moongate.test.Interop"


class Client:
    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def call(self, method, message, text=False, service=SERVICE):
        """Status of HTTP, messages, and gRPC's status with its message."""
        media = "application/grpc-web-text" if text else "application/grpc-web+proto"
        frame = struct.pack(">BI", 0, len(message)) + message
        body = base64.b64encode(frame) if text else frame
        headers = {"Host": "grpc.example", "Content-Type": media, "Accept": media, "X-Grpc-Web": "1"}
        self.connection.request("POST", f"/{service}/{method}", body, headers)
        response = self.connection.getresponse()
        told, media = response.read(), response.getheader("content-type")
        expected = "application/grpc-web-text+proto" if text else "application/grpc-web+proto"
        assert media == expected, media
        # Texts are whole, each with its padding; all but the last may end with a message.
        octets = b"".join(base64.b64decode(part) for part in groups(told)) if text else told
        trailers = {name.lower(): value for name, value in response.getheaders()}
        messages = []
        while octets:
            flags, length = struct.unpack(">BI", octets[:5])
            part, octets = octets[5 : 5 + length], octets[5 + length :]
            assert len(part) == length
            if flags & 0x80:
                lines = part.decode().split("\r\n")
                trailers.update(line.split(":", 1) for line in lines if line)
                assert not octets
            else:
                messages.append(part)
        return response.status, messages, int(trailers["grpc-status"]), trailers.get("grpc-message", "").strip()

    def unary(self):
        for text in (False, True):
            for message in (b"", b"a", b"ab", b"abc", bytes(range(256)) * 1200):
                assert self.call("Echo", message, text) == (200, [message], 0, ""), (text, message[:4])

    def server_streaming(self):
        sizes = [31415, 9, 2653, 58979]
        for text in (False, True):
            status, messages, grpc, _ = self.call("Spread", ",".join(map(str, sizes)).encode(), text)
            assert (status, [len(one) for one in messages], grpc) == (200, sizes, 0)

    def status_and_message(self):
        for text in (False, True):
            assert self.call("Echo", b"status:5:not here", text) == (200, [], 5, "not here")

    def unimplemented(self):
        assert self.call("None", b"")[:3] == (200, [], 12)

    def answers_of_the_gateway(self):
        for text in (False, True):
            assert self.call("A", b"", text, "nowhere.None")[:3] == (404, [], 12)
            assert self.call("A", b"", text, "empty.None") == (503, [], 14, "no healthy upstream")
            assert self.call("A", b"", text, "forbidden.None") == (403, [], 7, "not for you: 100%25")


def groups(text):
    """Texts that follow one another, parted behind their padding."""
    start = 0
    while start < len(text):
        end = text.find(b"=", start)
        end = len(text) if end < 0 else end + 1
        end += -(end - start) % 4
        yield text[start:end]
        start = end


if __name__ == "__main__":
    client = Client(sys.argv[1])
    for name in [name for name in vars(Client) if not name.startswith("_") and name != "call"]:
        getattr(client, name)()
        print(name, flush=True)
