#!/usr/bin/python3
"""Measures how data passes: latency, throughput and CPU against the size of a transfer, for each scheme and for the kernel's stack (root).

    bench/passing.py --programs BIN [--rounds 3] [--seconds 0.3] [--sizes BYTES…] [--schemes NAME…] [--json FILE] [--plots FOLDER]

Over the wire both ends run on Ferry, or both on the kernel's stack, in namespaces of their own; on the same host both ends use one ferryd, or
the kernel's loopback. All stacks and schemes are measured in turn, round by round; a figure is the median of its rounds. CPU is that of
everything on the machine. For the scheme emulated it also shows how much of the payload was not copied by the programs: referred to by who sent it, and
in pages that were exchanged by who received it, as ferryd's counters have it.
"""
import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import pairs  # noqa: E402
import plots  # noqa: E402
import rows  # noqa: E402
import table  # noqa: E402
from harness import Failed, Network  # noqa: E402

SIZES = [1, 64, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20]
SCHEMES = ["kernel", "copy", "shared", "emulated"]
PLACES = {"wire": {"kernel": ("kernel", "kernel"), "ferry": ("ferry", "ferry")},
          "host": {"kernel": ("kernel-self", "kernel-self"), "ferry": ("self", "self")}}
KINDS = ["latency", "throughput"]
WARM_ROUNDS = 3  # of transfer.cc, before it measures latency


class Path:
    """One scheme in one place: a network that stands all the time, and the server on it."""

    def __init__(self, place, scheme, programs, folder):
        self.place, self.scheme = place, scheme
        options = pairs.Options(programs, folder)
        options.scheme = None if scheme == "kernel" else scheme
        self.net = Network(*PLACES[place]["kernel" if scheme == "kernel" else "ferry"], options)

    def __enter__(self):
        self.net.__enter__()
        rows.transfer_start(self.net)
        return self

    def __exit__(self, *what):
        self.net.__exit__(*what)

    def spared(self):
        """Bytes referred to, bytes exchanged and pages exchanged so far, by all programs on Ferry."""
        sides = {side.socket: side for side in self.net.sides if side.on_ferry()}.values()
        counters = [side.stat()["passing"] for side in sides]
        return [sum(c[name] for c in counters) for name in ("referenced_out", "swapped_in", "swapped_pages")]

    def measure(self, kind, size, seconds):
        """(µs or Gb/s, CPU: µs per transfer or s per GB, part of the payload referred to, part exchanged, pages exchanged)"""
        spared = self.spared()
        before = pairs.busy_seconds()
        got = rows.transfer(self.net, kind, size, seconds)
        busy = pairs.busy_seconds() - before
        passed = got["bytes"] if kind == "throughput" else 2 * (got["round_trips"] + WARM_ROUNDS) * size
        now = self.spared()
        parts = [(b - a) / passed for a, b in zip(spared[:2], now)] + [now[2] - spared[2]]
        if kind == "latency":
            return got["half_round_trip_us"], busy * 1e6 / (2 * got["round_trips"]), *parts
        return got["bytes"] * 8e-9 / got["seconds"], busy / (got["bytes"] / 1e9), *parts


def human(size):
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"


def short(number):
    return f"{number:.3g}" if number < 1000 else f"{number:.0f}"


def measure_place(place, schemes, arguments, folder):
    """{(kind, size, scheme): (value, cpu, referred, exchanged, pages)}, medians of the rounds."""
    samples = {}
    with contextlib.ExitStack() as standing:
        paths = [standing.enter_context(Path(place, scheme, arguments.programs, folder)) for scheme in schemes]
        for kind in KINDS:
            for size in arguments.sizes:
                print(f"\r\033[K{place}, {kind}, {human(size)}", end="", file=sys.stderr, flush=True)
                for _ in range(arguments.rounds):
                    for path in paths:
                        samples.setdefault((kind, size, path.scheme), []).append(path.measure(kind, size, arguments.seconds))
    return {key: tuple(statistics.median(column) for column in zip(*values)) for key, values in samples.items()}


def text_table(results, place, kind, sizes, schemes):
    unit = {"latency": "µs, half round trip (CPU-µs a transfer)", "throughput": "Gb/s (CPU-s/GB)"}[kind]
    title = {"wire": "over the wire", "host": "on the same host"}[place]
    cells = [["transfer"] + list(schemes)]
    for size in sizes:
        cells.append([human(size)] + ["{} ({})".format(*map(short, results[kind, size, scheme][:2])) for scheme in schemes])
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in cells]
    return f"{kind} {title}: {unit}\n" + "\n".join(lines)


def spared_table(results, place, sizes):
    """What the scheme emulated did not copy."""
    lines = [f"not copied by the programs with emulated, {place}: referred to / exchanged, per cent of the payload (pages)"]
    for size in sizes:
        words = [f"{kind} " + "{:.0f} / {:.0f} ({:.0f})".format(100 * r[2], 100 * r[3], r[4]) for kind in KINDS for r in [results[kind, size, "emulated"]]]
        lines.append(f"{human(size).rjust(8)}  " + ", ".join(words))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="folder of ferry, ferryd and ferry-transfer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="BYTES")
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=SCHEMES)
    parser.add_argument("--places", nargs="+", choices=list(PLACES), default=list(PLACES))
    parser.add_argument("--json", help="where to write everything that was measured")
    parser.add_argument("--plots", help="folder for SVG plots (gnuplot draws them)")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the benchmark needs root, because it makes network namespaces")
    if any(not 1 <= size <= 1 << 30 for size in arguments.sizes):
        parser.error("sizes are 1 byte to 1 GiB")
    pairs.end_cleanly_on_sigterm()

    measured = {}
    with tempfile.TemporaryDirectory(prefix="ferry-bench-") as folder:
        for place in arguments.places:
            try:
                measured[place] = measure_place(place, arguments.schemes, arguments, folder)
            except Failed as error:
                sys.exit(f"\r\033[K{place}: {error}")
    print("\r\033[K", end="", file=sys.stderr)
    for place, results in measured.items():
        for kind in KINDS:
            print(text_table(results, place, kind, arguments.sizes, arguments.schemes) + "\n")
        if "emulated" in arguments.schemes:
            print(spared_table(results, place, arguments.sizes) + "\n")
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump({"date": time.strftime("%Y-%m-%d"), "machine": table.machine(), "rounds": arguments.rounds,
                       "results": [{"place": place, "kind": kind, "bytes": size, "scheme": scheme, "value": value, "cpu": cpu,
                                    "referred": referred, "swapped": swapped, "swapped_pages": pages}
                                   for place, results in measured.items()
                                   for (kind, size, scheme), (value, cpu, referred, swapped, pages) in results.items()]}, out, indent=1)
    if arguments.plots:
        plots.draw(measured, arguments.sizes, arguments.schemes, arguments.plots, table.machine())


if __name__ == "__main__":
    main()
