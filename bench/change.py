#!/usr/bin/env python3
"""One change until it answers on every worker, and what it costs, by the number of unrelated objects.

  bench/change.py [--routes 5000] [--unrelated 1000 20000] [--changes 40] [--workers 2]

A change moves one host's route to another direct response by renaming a file into place. It counts as live when as many new connections in a row
as there are workers, times eight, see it.
"""
import argparse
import os
import statistics
import tempfile
import time
import world

ROUTE = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: moving, namespace: default}
spec:
  hosts: [%s]
  gateways: [edge]
  http:
  - directResponse: {status: 200, body: {string: "version %%d"}}
""" % world.MOVING


def change(folder, version, workers):
    """Milliseconds from the rename until every worker answers with it."""
    world.write(os.path.join(folder, "moving.yaml"), ROUTE % version)
    begun = time.monotonic()
    return (world.wait_for_version(version, workers) - begun) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=int, default=5000)
    parser.add_argument("--unrelated", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--changes", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    medians = []
    for unrelated in args.unrelated:
        with tempfile.TemporaryDirectory() as folder:
            world.lay_out(folder, args.routes, 18290, unrelated=unrelated)
            world.write(os.path.join(folder, "moving.yaml"), ROUTE % 0)
            process, _ = world.start(folder, args.workers)
            try:
                times, costs = [], []
                for version in range(1, args.changes + 1):
                    before = world.precise_cpu_seconds(process.pid)
                    world.write(os.path.join(folder, "moving.yaml"), ROUTE % version)
                    begun = time.monotonic()
                    # Asking costs the gateway time too: the cost is measured by waiting, not by asking.
                    time.sleep(0.3)
                    costs.append((world.precise_cpu_seconds(process.pid) - before) * 1e3)
                    if world.seen() != f"version {version}":
                        raise SystemExit(f"version {version} is not live after {time.monotonic() - begun:.1f} s")
                for version in range(args.changes + 1, 2 * args.changes + 1):
                    times.append(change(folder, version, args.workers))
            finally:
                world.stop(process)
        medians.append(statistics.median(costs))
        print(f"{args.routes} routes, {unrelated} unrelated pairs: live after {statistics.median(times):.1f} ms "
              f"({min(times):.1f} to {max(times):.1f}), cpu {statistics.median(costs):.2f} ms ({min(costs):.2f} to {max(costs):.2f})")
    if len(medians) > 1:
        print(f"cpu of a change at {args.unrelated[-1]} over {args.unrelated[0]}: {medians[-1] / medians[0]:.2f}")


if __name__ == "__main__":
    main()
