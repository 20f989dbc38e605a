#!/usr/bin/python3
"""Measures Ferry against the kernel's stack, side by side on this machine (needs root).

    bench/run.py --programs BIN [--pairs 6] [--seconds 2] [--rows NAME…] [--json FILE] [--document FILE.md]
"""
import argparse
import json
import os
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import pairs  # noqa: E402
import rows  # noqa: E402
import table  # noqa: E402

START, END = "<!-- measured: start -->", "<!-- measured: end -->"


def write_document(path, text):
    """Replaces what is between the two marks of the document."""
    with open(path) as document:
        old = document.read()
    before, _, rest = old.partition(START)
    _, _, after = rest.partition(END)
    with open(path, "w") as document:
        document.write(f"{before}{START}\n{text}\n{END}{after}")


def progress(row, number):
    print(f"\r\033[K{row.title}: pair {number + 1}", end="", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="folder of ferry and ferryd")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rows", nargs="*", default=None, help="names; default: all")
    parser.add_argument("--json", help="where to write everything that was measured")
    parser.add_argument("--document", help="Markdown file whose measured part is replaced")
    arguments = parser.parse_args()
    chosen = [row for row in rows.ROWS if arguments.rows is None or row.name in arguments.rows]
    if arguments.rows and len(chosen) != len(set(arguments.rows)):
        parser.error(f"rows are: {' '.join(row.name for row in rows.ROWS)}")
    if os.geteuid() != 0:
        sys.exit("the benchmark needs root, because it makes network namespaces")
    pairs.end_cleanly_on_sigterm()

    results, failed = [], []
    with tempfile.TemporaryDirectory(prefix="ferry-bench-") as folder:
        options = pairs.Options(arguments.programs, folder)
        for row in chosen:
            seconds = int(arguments.seconds) if arguments.seconds >= 1 else arguments.seconds
            try:
                results.append(pairs.measure(row, options, arguments.pairs, seconds, progress))
            except Exception as error:  # pylint: disable=broad-except
                failed.append((row, str(error).splitlines()[0] if str(error) else repr(error)))
                print(f"\r\033[K{row.title}: {error}", file=sys.stderr)
    print("\r\033[K", end="", file=sys.stderr)
    print(table.terminal(results))
    for row, reason in failed:
        print(f"not measured: {row.title}: {reason}")

    day = time.strftime("%Y-%m-%d")
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump({"date": day, "machine": table.machine(), "pairs": arguments.pairs, "seconds": arguments.seconds,
                       "rows": [result.as_json() for result in results],
                       "failed": [{"name": row.name, "reason": reason} for row, reason in failed]}, out, indent=1)
    if arguments.document:
        text = (f"Measured {day} on {table.machine()}: {arguments.pairs} pairs of {arguments.seconds:g} s each, "
                f"in networks made anew after every {pairs.PAIRS_OF_A_NETWORK}; medians of ratios.\n\n"
                f"{table.markdown(results)}\n")
        for row, _ in failed:
            text += f"\nNot measured, because it failed: {row.title}.\n"
        write_document(arguments.document, text)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
