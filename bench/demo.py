#!/usr/bin/python3
"""Runs well-known programs, unchanged, over Ferry and over the kernel's stack in turn, and compares (needs root).

    bench/demo.py --programs BIN [--pairs 2] [--seconds 2]
"""
import argparse
import os
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import pairs  # noqa: E402
import rows  # noqa: E402
import table  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="folder of ferry and ferryd")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("The demo needs root, because it makes network namespaces: run it with sudo.")
    pairs.end_cleanly_on_sigterm()

    print("Two network namespaces, joined by veth: one end is served by ferryd (no kernel address there), the other by ferryd or\n"
          "by the kernel. The programs are Debian's own. In turn, the same runs between two kernel ends.\n")
    results, failed, started = [], 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ferry-demo-") as folder:
        options = pairs.Options(arguments.programs, folder)
        for count, row in enumerate(rows.DEMO, 1):
            def progress(current, number, count=count):
                print(f"  [{count}/{len(rows.DEMO)}] {current.title}, pair {number + 1} of {arguments.pairs}", flush=True)
            try:
                results.append(pairs.measure(row, options, arguments.pairs, int(arguments.seconds) or 1, progress))
            except Exception as error:  # pylint: disable=broad-except
                failed += 1
                print(f"  {row.title} failed: {error}")
    print("\n" + table.terminal(results, goals=False))
    print(f"\n{table.machine()}; {time.monotonic() - started:.0f} s. Medians of {arguments.pairs} pairs; `make bench` measures properly.")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nended; nothing is left behind", file=sys.stderr)
        sys.exit(130)
