#!/usr/bin/python3
"""Runs each program of this folder over the kernel's loopback and over `ferryd --loopback`, with the schemes shared and emulated, and
compares what they print.

    compare.py --programs BIN [--passing] [--swap] [--twin] [--busy-poll] [--engines N] [NAME …]      e.g. compare.py --programs build/release/bin stream

With --passing every connection goes past ferryd as soon as it can (pass-after 0), and some must have. With --swap none does, and pages that
are received into are exchanged even for little (swap-kib 4), and some must have been. With --twin the loopback is the kernel's.

The programs print results and errno of every socket call they make, so a difference is a difference of behaviour that a program
could see. Lines that may differ are listed in EXCEPTIONS with the reason. Exit status: 0 equal, 1 different, 77 skipped.
"""
import argparse
import difflib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from sanitized import REPORT, Reports, behind_libferry  # noqa: E402  pylint: disable=wrong-import-position
LIMIT = 60

# (program, pattern of a line): why it may differ. Matching lines are dropped from both outputs.
EXCEPTIONS = []


def compile_all(names, folder):
    for name in names:
        if os.path.exists(os.path.join(HERE, name + ".py")):
            continue
        subprocess.run(["gcc", "-std=gnu17", "-O1", "-pthread", "-Wall", "-o", os.path.join(folder, name), os.path.join(HERE, name + ".c")],
                       check=True)


def lines_of(name, text):
    skipped = [pattern for program, pattern, _ in EXCEPTIONS if program == name]
    return [line for line in text.splitlines() if not any(re.search(p, line) for p in skipped)]


def run(words, environment):
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                               env=dict(os.environ, **environment), start_new_session=True)
    try:
        out, err = process.communicate(timeout=LIMIT)
        return process.returncode, out, err
    except subprocess.TimeoutExpired:
        end_group(process.pid)
        out, err = process.communicate()
        return "time-out", out, err
    finally:  # also when we are ended ourselves: nothing of it stays, that might go on for ever without its ferryd
        end_group(process.pid)


def end_group(leader):
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Ferryd:
    """A ferryd in a network namespace of its own, serving 127.0.0.0/8 there if `settings` say so."""

    def __init__(self, programs, folder, settings):
        self.programs = programs
        self.space = f"ferry-cmp{os.getpid()}"
        self.socket = os.path.join(folder, "ferryd.sock")
        for words in (["netns", "add", self.space], ["-n", self.space, "link", "set", "lo", "up"],
                      ["-n", self.space, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"],
                      ["-n", self.space, "link", "set", "eth0", "up"], ["-n", self.space, "link", "set", "eth1", "up"]):
            subprocess.run(["ip", *words], check=True)
        self.log = open(os.path.join(folder, "ferryd.log"), "w")
        self.process = subprocess.Popen(["ip", "netns", "exec", self.space, os.path.join(programs, "ferryd"), "--link", "packet:eth0",
                                         "--address", "10.99.0.1/24", "--socket", self.socket, *settings],
                                        stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 10
        while not os.path.exists(self.socket) and time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.05)

    def counter(self, name, part="server"):
        stat = subprocess.run([os.path.join(self.programs, "ferry"), "stat", "--json", "--socket", self.socket],
                              capture_output=True, text=True, check=True)
        return json.loads(stat.stdout)[part][name]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        subprocess.run(["ip", "netns", "del", self.space], check=False)


def main():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("ended by a signal"))
    every = sorted(f[:-2] for f in os.listdir(HERE) if f.endswith(".c")) + ["passing"]
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--passing", action="store_true")
    parser.add_argument("--engines", default="1", help="of ferryd")
    parser.add_argument("--swap", action="store_true")
    parser.add_argument("--twin", action="store_true")
    parser.add_argument("--busy-poll", action="store_true", help="a ferryd that never sleeps: its clients' waits end while they spin")
    parser.add_argument("--libferry", help="folder of a ferry whose libferry has sanitizers, for the programs; any report is a failure")
    parser.add_argument("names", nargs="*", default=every)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return 77
    schemes = {scheme: os.path.abspath(os.path.join(arguments.libferry or arguments.programs, "..", "lib", library))
               for scheme, library in (("shared", "libferry.so"), ("emulated", "libferry_emulated.so"))}
    different = False
    with tempfile.TemporaryDirectory(prefix="ferry-compare-") as folder:
        compile_all(arguments.names, folder)
        reports = Reports(os.path.join(folder, "reports"))
        behind, sanitizing = "", []
        if arguments.libferry:
            behind, sanitizing = ":" + behind_libferry(arguments.libferry), reports.settings()
            EXCEPTIONS.append(("faults", "^default ", "the sanitizer has a handler"))
        settings = ["--engines", arguments.engines, *([] if arguments.twin else ["--loopback"]), *(["--pass-after", "0"] if arguments.passing else []),
                    *(["--quota-peers", "0", "--swap-kib", "4"] if arguments.swap else []), *(["--busy-poll"] if arguments.busy_poll else [])]
        ferryd = Ferryd(os.path.abspath(arguments.programs), folder, settings)
        try:
            for name in arguments.names:
                script = os.path.join(HERE, name + ".py")
                program = ["/usr/bin/python3", "-B", script] if os.path.exists(script) else [os.path.join(folder, name)]
                inside = ["ip", "netns", "exec", ferryd.space]
                kernel = run(inside + program, {})
                for scheme, library in schemes.items():
                    clients = ferryd.counter("clients_total")
                    # LD_PRELOAD goes to the program only, not to ip(8).
                    ferry = run(inside + ["env", f"LD_PRELOAD={library}{behind}", *sanitizing, *program],
                                {"FERRY_SOCKET": ferryd.socket, "FERRY_SCHEME": scheme})
                    before, after = lines_of(name, kernel[1]), lines_of(name, ferry[1])
                    same = before == after and kernel[0] == ferry[0]
                    print(f"{name}, {scheme}: {'same' if same else 'DIFFERENT'} ({len(before)} lines, status {kernel[0]} / {ferry[0]})")
                    if not same:
                        different = True
                        print("\n".join(difflib.unified_diff(before, after, "kernel", "ferry", lineterm="", n=1)))
                        print(ferry[2][-2000:])
                    if ferryd.counter("clients_total") == clients + 1:  # that of the question itself
                        different = True
                        print(f"{name}, {scheme}: did not run on Ferry\n{ferry[2][-2000:]}")
                    for text in reports.take() + ([ferry[2]] if arguments.libferry and REPORT.search(ferry[2]) else []):
                        different = True
                        print(text)
            if arguments.passing:
                entered, left = ferryd.counter("passages_entered"), ferryd.counter("passages_left")
                print(f"passages: {entered} entered, {left} left")
                different = different or entered == 0
            if arguments.swap:
                swapped, pages = ferryd.counter("swapped_in", "passing"), ferryd.counter("swapped_pages", "passing")
                print(f"exchanged: {swapped} bytes in {pages} pages")
                different = different or swapped == 0
        finally:
            ferryd.stop()
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
