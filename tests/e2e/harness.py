"""Two network namespaces joined by veth, each served by the kernel's stack or by ferryd, and programs run in them.

    with Network("ferry", "kernel", options) as net:
        server = net.server.spawn(["nginx", ...]); net.server.wait_listening(80)
        net.client.run(["curl", net.server.url(80)])

         client side                      [relay]                    server side
    +---------------------+         +----------------+         +---------------------+
    | ferryd or kernel    | eth0 ---| ferry relay    |--- eth0 | ferryd or kernel    |
    | 10.9.0.1            |         | (only if asked)|         | 10.9.0.2            |
    +---------------------+         +----------------+         +---------------------+

A Ferry side has no kernel address on eth0. That programs really ran on Ferry is checked while they run and at the end
(evidence.py). Every wait is bounded; everything that was started or made is removed at the end, on failure and Ctrl-C too.
One-sided networks have both ends in one namespace: "loopback" (ferryd --loopback), "self" (both are clients of one ferryd and talk
through its address), "kernel-self" (the kernel's loopback, to compare with).
"""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from evidence import KernelTableWatch, check_side
from sanitized import REPORT, Reports, behind_libferry

PREFIX = "ferry-"
HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT_ADDRESS, SERVER_ADDRESS = "10.9.0.1", "10.9.0.2"


class Skipped(Exception):
    """It cannot be tried here."""


class Failed(Exception):
    """What was tested does not work; the message is for the reader of the test's output."""


def quiet(*words, check=True):
    """Runs a short system command of the harness itself."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def eventually(condition, seconds, what, every=0.05):
    """Waits until condition() is true and returns its value; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(every)


def processor_of(side):
    """The number of the processor that the side of that number has to itself."""
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        raise Skipped("a processor for each side takes two")
    return ours[side % len(ours)]


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


class Process:
    """A program that was started; its output goes to files in the test's log folder."""

    def __init__(self, words, log, stdin=None, env=None, cwd=None):
        self.words, self.log = words, log
        with open(log + ".out", "wb") as out, open(log + ".err", "wb") as err:
            self.popen = subprocess.Popen(words, stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=err, env=env,
                                          cwd=cwd, start_new_session=True)
        self.pid = self.popen.pid

    def output(self):
        with open(self.log + ".out", errors="replace") as out, open(self.log + ".err", errors="replace") as err:
            return out.read(), err.read()

    def running(self):
        return self.popen.poll() is None

    def wait(self, timeout):
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop(signal.SIGABRT)
            raise Failed(f"still running after {timeout} s: {' '.join(self.words)}\n{self.tail()}") from None
        return Result(self.popen.returncode, *self.output())

    def stop(self, number=signal.SIGTERM, patience=5):
        """Ends the program politely, then by force. Only its own session is signalled."""
        for sent in (number, signal.SIGKILL):
            if not self.running():
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(patience)

    def tail(self, lines=25):
        text = ""
        for name, content in zip(("stdout", "stderr"), self.output()):
            kept = content.splitlines()[-lines:]
            if kept:
                text += f"  --- {name}\n" + "".join(f"  {line[:400]}\n" for line in kept)
        return text


class Side:
    """One namespace and the stack that serves it."""

    def __init__(self, net, name, stack, address):
        self.net, self.name, self.stack, self.address = net, name, stack, address
        self.netns = f"{PREFIX}{os.getpid()}-{net.number}-{name}"
        self.processes = []
        self.ferryd = None
        self.watch = None
        self.tier2_expected = False        # the test lets sockets be demoted to kernel mode, on purpose
        self.v6_wildcards_expected = False  # the program has listeners for IPv6 only, which stay with the kernel
        self.kernel_use_expected = False   # no program ran on Ferry, or the test uses the kernel's stack on purpose
        self.socket = os.path.join(net.folder, f"{name}.sock")
        self.enter = ["ip", "netns", "exec", self.netns]  # begins the command of ferryd and of every program
        if net.pinned:
            self.enter += ["taskset", "-c", str(processor_of(len(net.sides)))]
        quiet("ip", "netns", "add", self.netns)
        self.inside("ip", "link", "set", "lo", "up")

    def on_ferry(self):
        return self.stack != "kernel"

    def inside(self, *words, check=True):
        return quiet("ip", "netns", "exec", self.netns, *words, check=check)

    def configure(self, interface):
        """Gives the interface to the side's stack."""
        if self.on_ferry():
            self.inside("sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1")
            self.inside("ip", "link", "set", interface, "up")
            self.start_ferryd(interface)
        else:
            self.inside("ip", "address", "add", f"{self.address}/24", "dev", interface)
            self.inside("ip", "link", "set", interface, "up")
            if self.net.gso_max_size:
                self.inside("/usr/bin/python3", "-B", os.path.join(HERE, "gso_limit.py"), interface, str(self.net.gso_max_size))

    def start_ferryd(self, interface, extra=()):
        words = [self.net.options.program("ferryd"), "--link", f"{self.net.link}:{interface}", "--address", f"{self.address}/24",
                 "--socket", self.socket, *self.net.options.ferryd_extra, *extra]
        if self.stack == "loopback":
            words.append("--loopback")
        if self.net.gso_max_size:
            words += ["--gso-max-size", str(self.net.gso_max_size)]
        self.ferryd = Process([*self.enter, *words], self.net.log_path(f"ferryd-{self.name}"))
        # It listens, it answers: then it serves.
        eventually(lambda: not self.ferryd.running() or self.ferry("version").out.count("ferryd ") == 1
                   and "ferryd: " not in self.ferry("version").out, 10, "ferryd answers")
        if not self.ferryd.running():
            raise Failed(f"ferryd ended at once\n{self.ferryd.tail()}")
        self.watch = KernelTableWatch(self.ferryd.pid, self.net.options.watch_every)

    def ferry(self, command, *words, timeout=20):
        """The ferry command, asking this side's ferryd."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.netns, self.net.options.program("ferry"), command, "--socket", self.socket, *words],
            capture_output=True, text=True, timeout=timeout)
        return Result(done.returncode, done.stdout, done.stderr)

    def stat(self):
        done = self.ferry("stat", "--json")
        if done.code != 0:
            raise Failed(f"ferry stat: {done.err}")
        return json.loads(done.out)

    def sockets(self):
        done = self.ferry("ss", "--json")
        if done.code != 0:
            raise Failed(f"ferry ss: {done.err}")
        return json.loads(done.out)["sockets"]

    def command(self, words, user=None, group=None):
        prefix = list(self.enter)
        if user:
            prefix += ["setpriv", f"--reuid={user}", f"--regid={group or user}", "--clear-groups"]
        if self.on_ferry():
            prefix += self.net.sanitizing + [self.net.options.run_command(), "run", "--socket", self.socket]
            if self.net.options.scheme:
                prefix += ["--scheme", self.net.options.scheme]
            prefix += ["--"]
        return prefix + list(words)

    def spawn(self, words, user=None, env=None, stdin=None, cwd=None):
        """Starts a program on this side's stack."""
        log = self.net.log_path(f"{self.name}-{os.path.basename(words[0])}")
        process = Process(self.command(words, user), log, stdin, {**os.environ, **(env or {})}, cwd)
        self.processes.append(process)
        return process

    def run(self, words, timeout=60, check=True, **how):
        """Runs a program to its end."""
        process = self.spawn(words, **how)
        result = process.wait(timeout)
        if check and result.code != 0:
            raise Failed(f"exit status {result.code}: {' '.join(map(str, words))}\n{process.tail()}")
        return result

    def listening(self, port, kind="tcp"):
        if self.on_ferry():
            states = {"tcp": "LISTEN", "udp": "UNCONN"}
            return any(s["type"] == kind and s["state"] == states[kind] and s["local"].endswith(f":{port}")
                       for s in self.sockets())
        flag = {"tcp": "-tlnH", "udp": "-ulnH"}[kind]
        return bool(re.search(rf":{port}\s", self.inside("ss", flag)))

    def wait_listening(self, port, kind="tcp", seconds=15, process=None):
        def ready():
            if process and not process.running():
                raise Failed(f"ended with {process.popen.returncode} before it listened: {' '.join(process.words)}\n"
                             f"{process.tail()}")
            return self.listening(port, kind)
        eventually(ready, seconds, f"{kind} port {port} listens on the {self.name} side ({self.stack})"
                   + (f"\n{process.tail()}" if process else ""), every=0.1)

    def pids(self):
        out = quiet("ip", "netns", "pids", self.netns, check=False)
        return [int(p) for p in out.split()]

    def stop_programs(self):
        for process in reversed(self.processes):
            process.stop()
        # What the programs left behind (daemons in sessions of their own); the namespace is ours, so they are, too.
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = [p for p in self.pids() if not self.ferryd or p != self.ferryd.pid]
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(Failed):
                eventually(lambda: not [p for p in self.pids() if not self.ferryd or p != self.ferryd.pid], 3, "end")

    def remove(self):
        with contextlib.suppress(Exception):
            self.stop_programs()
        if self.watch:
            self.watch.stop()
        if self.ferryd:
            self.ferryd.stop()
        quiet("ip", "netns", "del", self.netns, check=False)
        shutil.rmtree(f"/etc/netns/{self.netns}", ignore_errors=True)


class Network:
    """The sides of one test. `relay` is a list of options of `ferry relay`, or None for a plain veth; without `offloads` the veth is
    like a card that neither segments nor joins segments; `link`: the kind that Ferry's sides use; `gso_max_size`: bytes of an IPv4 packet
    that every side may leave to its interface to be cut (BIG TCP), 0: the usual 64 KiB; `pinned`: everything of a side runs on one processor,
    each side's on another."""
    made = 0

    def __init__(self, client, server, options, relay=None, offloads=True, link="packet", gso_max_size=0, pinned=False):
        self.options, self.relay_options, self.offloads, self.link = options, relay, offloads, link
        self.gso_max_size, self.pinned = gso_max_size, pinned
        self.stacks = client, server
        Network.made += 1
        self.number = Network.made
        self.sides, self.relay = [], None
        self.logs = 0

    def __enter__(self):
        remove_stale()
        self.folder = tempfile.mkdtemp(prefix=PREFIX)
        os.chmod(self.folder, 0o755)
        os.makedirs(self.options.logs, exist_ok=True)
        self.prepare_reports()
        try:
            self.build()
        except BaseException:
            self.remove()
            raise
        return self

    def prepare_reports(self):
        """With run.py --libferry: `sanitizing` begins the command of every program, `reports` has what its sanitizers said."""
        self.reports, self.sanitizing = None, []
        if self.options.libferry:
            self.reports = Reports(os.path.join(self.options.logs, "reports"))
            self.sanitizing = ["env", f"LD_PRELOAD={behind_libferry(self.options.libferry)}", *self.reports.settings()]

    def reported(self):
        if not self.reports:
            return []
        told = [process.output()[1] for side in self.sides for process in side.processes]
        return self.reports.texts() + [text for text in told if REPORT.search(text)]

    def build(self):
        client, server = self.stacks
        if client == "kernel-self":
            self.client = self.server = Side(self, "only", "kernel", CLIENT_ADDRESS)
            self.sides.append(self.client)
            self.target = "127.0.0.1"
            return
        if client in ("loopback", "self"):
            side = Side(self, "only", client, CLIENT_ADDRESS)
            self.sides.append(side)
            side.inside("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
            side.inside("ip", "link", "set", "far0", "up")
            side.configure("eth0")
            self.client = self.server = side
            self.target = "127.0.0.1" if client == "loopback" else CLIENT_ADDRESS
            return
        self.client = Side(self, "client", client, CLIENT_ADDRESS)
        self.sides.append(self.client)
        self.server = Side(self, "server", server, SERVER_ADDRESS)
        self.sides.append(self.server)
        self.target = SERVER_ADDRESS
        if self.relay_options is None:
            quiet("ip", "link", "add", "eth0", "netns", self.client.netns, "type", "veth",
                  "peer", "name", "eth0", "netns", self.server.netns)
        else:
            self.build_relay()
        if not self.offloads:
            for side in self.sides:
                side.inside("ethtool", "-K", "eth0", "tso", "off", "gso", "off", "gro", "off")
        if self.link == "xdp":  # checksums that a veth leaves out do not come with the frames
            for side in self.sides:
                side.inside("ethtool", "-K", "eth0", "tx", "off")
        self.client.configure("eth0")
        self.server.configure("eth0")

    def build_relay(self):
        middle = Side(self, "relay", "kernel", "")
        self.sides.append(middle)
        for side, port in ((self.client, "left"), (self.server, "right")):
            quiet("ip", "link", "add", "eth0", "netns", side.netns, "type", "veth", "peer", "name", port, "netns", middle.netns)
            middle.inside("sysctl", "-qw", f"net.ipv6.conf.{port}.disable_ipv6=1")
            middle.inside("ip", "link", "set", port, "up")
        self.relay = Process(["ip", "netns", "exec", middle.netns, self.options.program("ferry"), "relay", "left", "right",
                              *self.relay_options], self.log_path("relay"))
        time.sleep(0.3)
        if not self.relay.running():
            raise Failed(f"the relay ended\n{self.relay.tail()}")

    def log_path(self, name):
        self.logs += 1
        return os.path.join(self.options.logs, f"{self.logs:02d}-{name}")

    def file(self, name, content=b""):
        """A file of this test, readable by every user."""
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, 0o644)
        return path

    def python(self, script, *words):
        """The words that start one of tests/e2e/python with Debian's Python."""
        return ["/usr/bin/python3", "-B", os.path.join(HERE, "python", script), *words]

    def system(self, line, timeout=60, cwd=None):
        """A command that prepares the test, outside of all namespaces."""
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=timeout, cwd=cwd)
        if done.returncode != 0:
            raise Failed(f"{line}: {done.stderr[-2000:]}")
        return done.stdout

    def use_names(self, side, server):
        """Makes `side` ask the DNS server at address `server` (ip-netns(8): /etc/netns)."""
        os.makedirs(f"/etc/netns/{side.netns}", exist_ok=True)
        with open(f"/etc/netns/{side.netns}/resolv.conf", "w") as out:
            out.write(f"nameserver {server}\noptions timeout:2 attempts:2\n")

    def check(self):
        """After the test: ended programs left nothing, and all went over Ferry."""
        for side in self.sides:
            side.stop_programs()
        for side in self.sides:
            if side.on_ferry():
                check_side(side)
        if self.reported():
            raise Failed("programs' sanitizers report something")

    def __exit__(self, kind, value, trace):
        self.remove()

    def remove(self):
        if self.relay:
            self.relay.stop()
        for side in self.sides:
            side.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_stale():
    """Namespaces of test processes that were killed before they could clean up."""
    for line in quiet("ip", "netns", "list", check=False).splitlines():
        found = re.match(rf"{PREFIX}(\d+)-", line)
        if found and not os.path.exists(f"/proc/{found[1]}"):
            name = line.split()[0]
            for pid in quiet("ip", "netns", "pids", name, check=False).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            quiet("ip", "netns", "del", name, check=False)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)
