#!/usr/bin/python3
"""Runs one end-to-end test, or lists them all.

    run.py --programs BIN CASE STACKS      e.g. run.py --programs build/release/bin curl ferry-kernel
    run.py --list                          CASE STACKS TIMEOUT FLAGS per line, for CMake

STACKS is CLIENT-SERVER with kernel and ferry, or loopback or self (see harness.py). kernel-kernel runs the same test without
Ferry: when that fails, the test or the machine is wrong. Exit status: 0 good, 1 failed, 77 skipped (the reason is printed).
Logs are kept under --logs only when the test fails.
"""
import argparse
import glob
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
SKIPPED = 77


class Interrupted(BaseException):
    pass


class Options:
    """What a test needs to know of its surroundings."""

    def __init__(self, arguments, name):
        self.bin = os.path.abspath(arguments.programs)
        self.logs = os.path.join(os.path.abspath(arguments.logs), name)
        self.scheme = arguments.scheme
        self.full = arguments.full
        self.ferryd_extra = list(arguments.ferryd_option or [])
        self.ferryd = arguments.ferryd
        self.libferry = arguments.libferry and os.path.abspath(arguments.libferry)
        self.copied = None
        self.watch_every = 0.1
        self.copies = []

    def program(self, name):
        if name == "ferryd" and self.ferryd:
            return os.path.abspath(self.ferryd)
        copy = os.path.join(self.copied or self.bin, name)
        return copy if os.path.exists(copy) else os.path.join(self.bin, name)

    def run_command(self):
        """The ferry whose `run` starts programs: libferry lies beside it."""
        return os.path.join(self.libferry, "ferry") if self.libferry else self.program("ferry")

    def make_readable(self):
        """Programs run as other users, too: if those cannot reach a build folder, work on a copy."""
        self.copied = self.readable_copy(self.bin, ("ferry", "ferryd"))
        if self.libferry:
            self.libferry = self.readable_copy(self.libferry, ("ferry",)) or self.libferry

    def readable_copy(self, programs, names):
        """None: everybody can reach the folder, or there is no libferry that programs could load."""
        probe = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-x", os.path.join(programs, "ferry")]
        libraries = glob.glob(os.path.join(programs, "..", "lib", "*.so"))
        if subprocess.run(probe, check=False).returncode == 0 or not libraries:
            return None
        folder = tempfile.mkdtemp(prefix="ferry-bin-")
        self.copies.append(folder)
        os.chmod(folder, 0o755)
        os.makedirs(os.path.join(folder, "bin"))
        os.makedirs(os.path.join(folder, "lib"))
        for name in names:
            if os.path.exists(os.path.join(programs, name)):
                shutil.copy(os.path.join(programs, name), os.path.join(folder, "bin"))
        for library in libraries:
            shutil.copy(library, os.path.join(folder, "lib"))
        return os.path.join(folder, "bin")

    def remove(self):
        for folder in self.copies:
            shutil.rmtree(folder, ignore_errors=True)


def load_cases():
    import cases
    for name in sorted(os.listdir(os.path.join(HERE, "cases"))):
        if name.endswith(".py") and name != "__init__.py":
            importlib.import_module("cases." + name[:-3])
    return cases.ALL


def end_on(number, frame):
    raise Interrupted(signal.Signals(number).name)


def run_case(case, stacks, options):
    from harness import Failed, Network, Skipped
    if os.geteuid() != 0:
        raise Skipped("it needs root, to make network namespaces")
    missing = [p for p in case.needs if not shutil.which(p, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")]
    if missing:
        raise Failed(f"not installed, see scripts/install-packages: {', '.join(missing)}")
    if options.libferry and case.no_sanitizer:
        raise Skipped(f"not with a sanitized libferry: {case.no_sanitizer}")
    for name in case.servers:
        options.ferryd_extra += ["--server", name]
    if case.engines > 1:
        options.ferryd_extra += ["--engines", str(case.engines)]
    options.ferryd_extra += case.ferryd
    client, server = (stacks, stacks) if stacks in ("loopback", "self") else stacks.split("-")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, end_on)
    signal.alarm(case.timeout * (20 if options.full else 1))
    options.make_readable()
    try:
        if case.bare:
            case.function(options)
            return
        with Network(client, server, options, relay=case.relay, offloads=case.offloads,
                     link=case.link, gso_max_size=case.gso_max_size) as net:
            try:
                case.function(net)
                net.check()
            except Failed:
                for side in net.sides:
                    for process in [side.ferryd] + side.processes:
                        if process and process.tail():
                            print(f"{side.name}: {' '.join(process.words)[-300:]}\n{process.tail(12)}")
                for text in net.reported():
                    print(text)
                raise
    except Interrupted as reason:
        raise Failed(f"ended by {reason}" + (f" after {case.timeout} s" if str(reason) == "SIGALRM" else "")
                     + "\n" + traceback.format_exc(limit=-6)) from None
    finally:
        signal.alarm(0)
        options.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", default="build/release/bin", help="folder of ferry and ferryd")
    parser.add_argument("--ferryd", help="another ferryd, e.g. one with sanitizers")
    parser.add_argument("--libferry", help="folder of a ferry whose libferry has sanitizers, for the programs; any report is a failure")
    parser.add_argument("--logs", default=None, help="where logs of failed tests are kept")
    parser.add_argument("--scheme", choices=["shared", "emulated", "copy"])
    parser.add_argument("--full", action="store_true", help="the sizes of `make soak`")
    parser.add_argument("--ferryd-option", action="append", help="one more option for every ferryd")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("case", nargs="?")
    parser.add_argument("stacks", nargs="?")
    arguments = parser.parse_args()
    cases = load_cases()
    if arguments.list:
        for case in cases.values():
            for stacks in case.stacks:
                print(case.name, stacks, case.timeout, "serial" if case.serial else "parallel")
        return 0
    if arguments.case not in cases or arguments.stacks is None:
        parser.error("name a case and its stacks (see --list)")
    if arguments.logs is None:
        arguments.logs = os.path.join(arguments.programs, "..", "e2e-logs")
    options = Options(arguments, f"{arguments.case}.{arguments.stacks}")
    shutil.rmtree(options.logs, ignore_errors=True)
    started = time.monotonic()
    from harness import Failed, Skipped
    try:
        run_case(cases[arguments.case], arguments.stacks, options)
    except Skipped as reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    except Exception as error:  # pylint: disable=broad-except
        print(f"FAILED after {time.monotonic() - started:.1f} s: {error}")
        if not isinstance(error, Failed):
            traceback.print_exc()
        print(f"logs: {options.logs}")
        return 1
    shutil.rmtree(options.logs, ignore_errors=True)
    print(f"good after {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
