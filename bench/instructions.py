#!/usr/bin/env python3
"""User instructions per request of binaries of Moongate, as valgrind's callgrind counts them. Clocks and other work of the machine hardly matter: the
figures of one binary differ by 5 % from run to run, as backends respond sooner or later, and those of two binaries in one run change alike.

Instructions of the kernel are not counted; `strace -f -c` tells whether the calls of the system differ. Of two runs with few and with many
requests the difference counts, so that the start is left out. The profiles stay in the folder that --keep names (`callgrind_annotate FILE`).

  bench/instructions.py [--case keepalive|close|tls|tlsconn|h2 ...] [--keep FOLDER] BINARY...
"""
import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import peers

# Requests of the two runs; one by connection costs more.
REQUESTS = {"keepalive": (1000, 6000), "tls": (1000, 6000), "h2": (1000, 6000), "close": (100, 900), "tlsconn": (100, 900)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="+", metavar="BINARY")
    parser.add_argument("--case", nargs="+", choices=sorted(REQUESTS), default=list(REQUESTS))
    parser.add_argument("--keep", metavar="FOLDER")
    args = parser.parse_args()
    for tool in ("valgrind", "h2load", "nginx"):
        if not shutil.which(tool):
            raise SystemExit(f"{tool} is needed and not installed")
    print("".join(f"{word:>14}" for word in ("case", *(f"binary {number + 1}" for number in range(len(args.binaries))), "last/first")))
    for case in args.case:
        few, many = REQUESTS[case]
        figures = [(count(binary, case, many, args.keep) - count(binary, case, few, args.keep)) / (many - few) for binary in args.binaries]
        print(f"{case:>14}" + "".join(f"{figure:14.0f}" for figure in figures) + f"{figures[-1] / figures[0]:14.3f}", flush=True)


def count(binary, case, requests, keep):
    """Instructions of a process from its start to its end, with so many requests in between."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        proxies = peers.Proxies(folder, 1, case)
        backend = peers.start(proxies.backend(peers.BODIES[case]), peers.BACKEND)
        profile = os.path.join(folder, "profile")
        command = [binary] + proxies.moongate(18100)[1:]
        proxy = peers.start(["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"] + command, 18100, 120)
        try:
            answered, text = by_connections(requests) if case == "close" else by_h2load(case, requests)
            if answered != requests:
                raise SystemExit(f"{requests - answered} of {requests} requests failed:\n{text}")
            os.kill(proxy.pid, signal.SIGINT)
            proxy.wait()
        finally:
            if proxy.poll() is None:
                peers.stop(proxy)
            peers.stop(backend)
        with open(profile) as file:
            total = int(re.search(r"(?:totals|summary): (\d+)", file.read()).group(1))
        if keep:
            shutil.copy(profile, os.path.join(keep, f"{os.path.basename(binary)}-{case}-{requests}"))
        return total


def by_h2load(case, requests):
    """How many requests were answered, and what h2load says."""
    of_case = {"h2": ["-c5", "-m10"], "tlsconn": ["--h1", f"-c{requests}", "-m1"]}
    scheme = "https" if case in peers.SECURED else "http"
    load = ["h2load", "-t1", *of_case.get(case, ["--h1", "-c10", "-m1"]), f"-n{requests}", "--connect-to", "127.0.0.1:18100"]
    text = subprocess.run(load + [f"{scheme}://{peers.NAME}:18100/"], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"(\d+) succeeded", text).group(1)), text


def by_connections(requests):
    """The same with a connection for each request, one after the other: of many at once the cost depends on how many are accepted together."""
    request = f"GET / HTTP/1.1\r\nhost: {peers.NAME}\r\nconnection: close\r\n\r\n".encode()
    answered = 0
    for _ in range(requests):
        with socket.create_connection(("127.0.0.1", 18100), 30) as client:
            client.sendall(request)
            with client.makefile("rb") as answer:
                answered += answer.read().startswith(b"HTTP/1.1 200 ")
    return answered, "not all answers were 200"


if __name__ == "__main__":
    main()
