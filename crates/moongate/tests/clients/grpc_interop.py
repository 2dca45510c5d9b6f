"""gRPC's own client and server, one on either side of the gateway.

usage: grpc_interop.py server                 prints the port that it listens on, and serves until its input ends
       grpc_interop.py client ADDRESS [CA]    asks at ADDRESS, by TLS if there is a file with a CA, and prints the name of each
                                              case that went well
       grpc_interop.py load ADDRESS           calls one after the other beside one stream until its input ends; says when it has
                                              begun and how many calls and messages there were, and fails with the first that does

Messages are bytes as they are; what is in them is said by each case. The cases are gRPC's interoperability tests, without those that
need a cloud.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "moongate.test.Interop"
SLEEP = 30


def echo(request, context):
    for key, value in context.invocation_metadata():
        if key == "x-grpc-test-echo-initial":
            context.send_initial_metadata([(key, value)])
        elif key == "x-grpc-test-echo-trailing-bin":
            context.set_trailing_metadata([(key, value)])
    if request.startswith(b"status:"):
        _, code, text = request.split(b":", 2)
        status = next(one for one in grpc.StatusCode if one.value[0] == int(code))
        context.abort(status, text.decode())
    if request == b"sleep":
        wait(context)
    return request


def wait(context):
    ended = threading.Event()
    context.add_callback(ended.set)
    ended.wait(SLEEP)


def collect(requests, context):
    return str(sum(len(one) for one in requests)).encode()


def spread(request, context):
    for size in request.decode().split(","):
        yield b"x" * int(size)


def pong(requests, context):
    for request in requests:
        if request == b"sleep":
            wait(context)
        yield request * 2


def serve():
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Spread": grpc.unary_stream_rpc_method_handler(spread),
        "Pong": grpc.stream_stream_rpc_method_handler(pong),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


class Client:
    def __init__(self, address, ca=None):
        options = [("grpc.default_authority", "grpc.example"), ("grpc.ssl_target_name_override", "grpc.example")]
        if ca is None:
            self.channel = grpc.insecure_channel(address, options=options)
        else:
            with open(ca, "rb") as file:
                credentials = grpc.ssl_channel_credentials(file.read())
            self.channel = grpc.secure_channel(address, credentials, options=options)

    def echo(self, request=b"", service=SERVICE, method="Echo", **more):
        return self.channel.unary_unary(f"/{service}/{method}")(request, timeout=more.pop("timeout", 60), **more)

    def fails(self, call):
        try:
            call()
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError("it did not fail")

    def empty_unary(self):
        assert self.echo() == b""

    def large_unary(self):
        message = bytes(range(256)) * 12_000
        assert len(message) > 3_000_000 and self.echo(message) == message

    def client_streaming(self):
        sizes = [27182, 8, 1828, 45904]
        call = self.channel.stream_unary(f"/{SERVICE}/Collect")
        assert call((b"x" * size for size in sizes), timeout=60) == str(sum(sizes)).encode()

    def server_streaming(self):
        sizes = [31415, 9, 2653, 58979]
        call = self.channel.unary_stream(f"/{SERVICE}/Spread")
        answers = call(",".join(map(str, sizes)).encode(), timeout=60)
        assert [len(one) for one in answers] == sizes

    def ping_pong(self):
        asked = threading.Semaphore(1)
        sizes = [27182, 8, 1828, 45904]

        def requests():
            for size in sizes:
                # Each waits for the answer to the one before.
                assert asked.acquire(timeout=60)
                yield b"x" * size

        answers = self.channel.stream_stream(f"/{SERVICE}/Pong")(requests(), timeout=60)
        for size in sizes:
            assert len(next(answers)) == 2 * size
            asked.release()
        assert list(answers) == []

    def empty_stream(self):
        assert list(self.channel.stream_stream(f"/{SERVICE}/Pong")(iter(()), timeout=60)) == []

    def cancel_after_begin(self):
        blocked = threading.Event()

        def requests():
            blocked.wait(60)
            yield b""

        call = self.channel.stream_unary(f"/{SERVICE}/Collect").future(requests(), timeout=60)
        call.cancel()
        blocked.set()
        assert call.cancelled() and call.code() == grpc.StatusCode.CANCELLED

    def cancel_after_first_response(self):
        blocked = threading.Event()

        def requests():
            yield b"one"
            blocked.wait(60)

        call = self.channel.stream_stream(f"/{SERVICE}/Pong")(requests(), timeout=60)
        assert next(call) == b"oneone"
        call.cancel()
        blocked.set()
        code, _ = self.fails(lambda: next(call))
        assert code == grpc.StatusCode.CANCELLED

    def timeout_on_sleeping_server(self):
        call = self.channel.stream_stream(f"/{SERVICE}/Pong")(iter([b"sleep"]), timeout=0.2)
        code, _ = self.fails(lambda: next(call))
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED, code

    def custom_metadata(self):
        sent = [("x-grpc-test-echo-initial", "initial value"), ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")]
        _, call = self.channel.unary_unary(f"/{SERVICE}/Echo").with_call(b"a", metadata=sent, timeout=60)
        assert dict(call.initial_metadata())["x-grpc-test-echo-initial"] == "initial value"
        assert dict(call.trailing_metadata())["x-grpc-test-echo-trailing-bin"] == b"\xab\xab\xab"

    def status_code_and_message(self):
        told = self.fails(lambda: self.echo(b"status:2:test status message"))
        assert told == (grpc.StatusCode.UNKNOWN, "test status message"), told

    def special_status_message(self):
        text = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
        told = self.fails(lambda: self.echo(b"status:2:" + text.encode()))
        assert told == (grpc.StatusCode.UNKNOWN, text), told

    def every_status(self):
        for status in grpc.StatusCode:
            if status != grpc.StatusCode.OK:
                told = self.fails(lambda: self.echo(f"status:{status.value[0]}:why".encode()))
                assert told == (status, "why"), told

    def unimplemented_method(self):
        assert self.fails(lambda: self.echo(method="None"))[0] == grpc.StatusCode.UNIMPLEMENTED

    def unimplemented_service(self):
        assert self.fails(lambda: self.echo(service="moongate.test.None"))[0] == grpc.StatusCode.UNIMPLEMENTED

    # What the gateway answers itself.

    def no_route(self):
        assert self.fails(lambda: self.echo(service="nowhere.None"))[0] == grpc.StatusCode.UNIMPLEMENTED

    def no_endpoint(self):
        told = self.fails(lambda: self.echo(service="empty.None"))
        assert told == (grpc.StatusCode.UNAVAILABLE, "no healthy upstream"), told

    def forbidden(self):
        told = self.fails(lambda: self.echo(service="forbidden.None"))
        assert told == (grpc.StatusCode.PERMISSION_DENIED, "not for you: 100%"), told

    def deadline_of_the_route(self):
        begun = time.monotonic()
        code, _ = self.fails(lambda: self.echo(b"sleep", metadata=[("x-short", "1")]))
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - begun < SLEEP, code


def ask(address, ca=None):
    client = Client(address, ca)
    for name in [name for name in vars(Client) if not name.startswith("_") and name not in ("echo", "fails")]:
        getattr(client, name)()
        print(name, flush=True)


def load(address):
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    client = Client(address)
    # A channel of its own, so that it is one connection for all its life.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.default_authority", "grpc.example")]
    with grpc.insecure_channel(address, options=options) as channel:
        asked = threading.Semaphore(0)

        def requests():
            while not ended.is_set():
                asked.acquire()
                yield b"x"

        answers = channel.stream_stream(f"/{SERVICE}/Pong")(requests())
        calls = messages = 0
        while not ended.is_set():
            assert client.echo(b"%d" % calls, timeout=20) == b"%d" % calls
            calls += 1
            asked.release()
            assert next(answers) == b"xx"
            messages += 1
            if messages == 1:
                print("begun", flush=True)
        asked.release()
    print(calls, messages, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["server"]:
        serve()
    elif sys.argv[1:2] == ["load"]:
        load(sys.argv[2])
    else:
        ask(*sys.argv[2:])
