#!/usr/bin/env python3
"""CPU time per request of two binaries of Moongate, so that a change of some percent shows on a machine that is not quiet.

Both run at the same time, and the load goes to one and the other in turns of a second: whatever slows the machine slows both turns of a pair.
The figure is the median of the ratios of all pairs, with the range in which the median of all possible pairs lies (95 %, by the sign test).

  bench/compare.py OLD NEW [--case keepalive|close|big|tls|tlsconn|h2|h2big|bytes|through ...] [--pairs 30] [--connections 50]
"""
import argparse
import math
import os
import statistics
import tempfile

import peers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--case", nargs="+", choices=sorted(peers.BODIES), default=["keepalive", "close", "big", "tls", "tlsconn", "h2", "h2big"])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--connections", type=int, default=50)
    args = parser.parse_args()
    print(f"{'case':10} {'old, us':>8} {'new, us':>8} {'new/old':>8} {'range':>15} {'user':>8} {'failed':>7}", flush=True)
    for case in args.case:
        compare(args, case)


def compare(args, case):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        running = []
        try:
            proxies = peers.Proxies(folder, 1, case)
            running.append(peers.start(proxies.backend(peers.BODIES[case]), peers.BACKEND))
            sides = []
            for offset, binary in enumerate((args.old, args.new)):
                port = 18100 + offset
                part = os.path.join(folder, str(offset))
                os.mkdir(part)
                running.append(peers.start([binary] + peers.Proxies(part, 1, case).moongate(port)[1:], port))
                sides.append((port, running[-1].pid))
                peers.load(case, port, 1, args.connections)
            pairs, failed = [], 0
            for number in range(args.pairs):
                pair = {}
                for side in ((0, 1), (1, 0))[number % 2]:
                    pair[side], failures = turn(case, *sides[side], args.connections)
                    failed += failures
                pairs.append((pair[0], pair[1]))
        finally:
            for process in reversed(running):
                peers.stop(process)
    whole = sorted(sum(new) / sum(old) for old, new in pairs)
    user = statistics.median(new[0] / old[0] for old, new in pairs)
    # The places of the confidence interval of a median among sorted values.
    reach = 0.98 * math.sqrt(len(whole))
    low = whole[max(0, math.floor(len(whole) / 2 - reach))]
    high = whole[min(len(whole) - 1, math.ceil(len(whole) / 2 + reach) - 1)]
    old, new = (statistics.median(sum(pair[side]) for pair in pairs) for side in (0, 1))
    print(f"{case:10} {old:8.2f} {new:8.2f} {statistics.median(whole):8.3f} {low:7.3f}-{high:.3f} {user:8.3f} {failed:7}", flush=True)


def turn(case, port, pid, connections):
    """User and system time of a request in microseconds, and how many requests failed."""
    before = peers.cpu_seconds(pid)
    requests, failures = peers.load(case, port, 1, connections)
    after = peers.cpu_seconds(pid)
    return tuple((b - a) / requests * 1e6 for a, b in zip(before, after)), failures


if __name__ == "__main__":
    main()
