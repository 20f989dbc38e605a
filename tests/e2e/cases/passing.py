"""Output by reference (--scheme emulated): programs get the same bytes through as with copies, and counters prove that none were made."""
import os
import re
import subprocess
import threading

from attack import hostile_client
from cases import CLIENT_AND_SERVER, FERRY_FERRY, FERRY_KERNEL, LOOPBACK, SELF, case
from cases.databases import start_redis
from cases.load import iperf3_client, start_iperf3
from evidence import number
from harness import Failed, eventually


def referenced(side):
    return number(side.stat(), "server", "referenced_out")


def least_swapped(side, least):
    """At least `least` bytes of this side's input came by exchanging pages."""
    passing = side.stat()["passing"]
    if passing["swapped_in"] < least or passing["swapped_pages"] < least >> 21:
        raise Failed(f"{side.name}: {passing['swapped_in']} bytes in {passing['swapped_pages']} pages were exchanged, expected {least}")
    print(f"{side.name}: {passing['swapped_in']} bytes in {passing['swapped_pages']} pages were exchanged, {passing['placed_in_pages']} were put there")


def large(net, megabytes, *whats):
    """Runs large.py; returns the bytes that the client's ferryd took by reference."""
    net.options.scheme = "emulated"
    server = net.server.spawn(net.python("large.py", "serve", "9400"))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    before = referenced(net.client)
    net.client.run(net.python("large.py", "send", net.target, "9400", str(megabytes), *whats), timeout=100)
    if server.wait(60).code != 0 or ("exit" in whats and "good" not in server.output()[0].splitlines()):
        raise Failed(f"the server's side\n{server.tail()}")
    return referenced(net.client) - before


@case((FERRY_KERNEL, FERRY_FERRY), timeout=150)
def passing_large_buffers(net):
    """64 MiB that are overwritten, freed, sent twice, shared with a child, left behind by exit, right after they were sent."""
    size = 64 if net.options.full else 24
    bytes_by_reference = large(net, size, "overwrite", "free", "again", "overwrite", "fork", "exit")
    if bytes_by_reference < 6 * size << 20:
        raise Failed(f"only {bytes_by_reference} bytes went by reference")


def hand_over(net, seconds, port, seed):
    """Two programs that exchange pages; how many bytes they have compared."""
    server = net.server.spawn(net.python("handed.py", "serve", str(port), seed))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    client = net.client.spawn(net.python("handed.py", "send", net.target, str(port), seed, str(seconds)))
    compared = 0
    for process in (client, server):
        if process.wait(seconds * 4 + 40).code != 0:
            raise Failed(f"seed {seed}\n{client.tail()}\n{server.tail()}")
        compared += int(process.output()[0].split("compared: ")[1])
    return compared


@case((SELF, LOOPBACK, FERRY_FERRY), timeout=150)
def passing_hands_over(net):
    """Pages change hands between programs of one host, which do to them what programs do; over the wire they are referred to and exchanged."""
    net.options.scheme = "emulated"
    seconds, seen = 60 if net.options.full else 12, []
    def exchanged():  # not ferryd's sums, to which the attacker adds what it likes
        ends = [s for s in net.server.sockets() if s["local"].endswith(":9480") and "referenced_out" in s]
        seen[:] = max([seen, *([s["referenced_out"], s["swapped_in"]] for s in ends)])
        return seen and min(seen) > 16 << 20
    with hostile_client(net, net.server):
        watch = threading.Thread(target=eventually, args=(exchanged, seconds * 3, "pages change hands"))
        if net.client.netns == net.server.netns:
            watch.start()
        compared = hand_over(net, seconds, 9480, os.environ.get("SEED", "1"))
    if watch.ident:
        watch.join()
        if min(seen) < 16 << 20:
            raise Failed(f"hardly any page changed hands: {seen}")
    print(f"{compared} bytes compared; {seen} bytes referred to and exchanged at the server's end")


@case((FERRY_KERNEL, FERRY_FERRY), timeout=60, needs=("iperf3",))
def passing_iperf3(net):
    """Pieces of 1 MiB, and iperf3's own of 128 KiB: a buffer that it sends again and again."""
    net.options.scheme = "emulated"
    start_iperf3(net.server)
    seen = []
    def shows():
        seen[:] = [net.client.ferry("ss", "-e").out]
        return re.search(r"copied_out:\d+ copied_in:\d+ referenced_out:[1-9]\d{7}", seen[0])
    watch = threading.Thread(target=eventually, args=(shows, 10, "ss shows it"))
    watch.start()
    for words in (("-l", "1M"), ()):
        before = referenced(net.client)
        end = iperf3_client(net, *words)
        if referenced(net.client) - before < end["sum_sent"]["bytes"] * 0.9:
            raise Failed(f"{referenced(net.client) - before} of {end['sum_sent']['bytes']} bytes went by reference")
    watch.join()
    if not re.search(r"referenced_out:[1-9]\d{7}", seen[0]):
        raise Failed(f"ferry ss -e shows\n{seen}")


@case(CLIENT_AND_SERVER, timeout=150, needs=("redis-server", "redis-cli"))
def passing_redis(net):
    """A program with an allocator of its own (jemalloc), 32 MiB values, a child that saves while the parent is written to."""
    net.options.scheme = "emulated"
    start_redis(net.server, net)

    def cli(*words, **how):
        return net.client.run(["redis-cli", "-h", net.target, *words], **how).out.strip()

    big = ("%07x." % 0xabc + "0123456789abcdef" * 15 + "01234567") * (1 << 17)
    net.file("big", big)
    for key in ("one", "two"):
        with open(os.path.join(net.folder, "big"), "rb") as value:
            if cli("-x", "SET", key, stdin=value) != "OK":
                raise Failed("SET of 32 MiB")
    for key in ("one", "two", "one"):
        if cli("GET", key) != big:
            raise Failed("GET gave other bytes than SET took")
    before = cli("LASTSAVE")
    cli("BGSAVE")
    for i in range(20):
        cli("SETRANGE", "one", str(i << 20), f"written{i}")
    eventually(lambda: cli("LASTSAVE") != before or os.path.exists(os.path.join(net.folder, "dump.rdb")), 30, "BGSAVE ends")
    expected = bytearray(big, "ascii")
    for i in range(20):
        written = f"written{i}".encode()
        expected[i << 20:(i << 20) + len(written)] = written
    if cli("GET", "one") != expected.decode() or cli("GET", "two") != big:
        raise Failed("after BGSAVE and SETRANGE the value is another")


# What the line in the log says, and what is done to the process before: inherited over execve(2).
SHORTAGES = {
    "no huge pages": "ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)",  # PR_SET_THP_DISABLE
    "no memory file": "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))",
    "no address space": "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))",
    "no memory file can be made": "confine.forbid(confine.MEMFD_CREATE)",
}


@case((FERRY_KERNEL,), timeout=90, no_sanitizer="its programs have less address space than AddressSanitizer wants")
def passing_degrades(net):
    """Where regions cannot be had, everything is copied, and one line says why."""
    for line, how in SHORTAGES.items():
        degrade(net, line, how, "overwrite", "exit")
        if referenced(net.client) != 0:
            raise Failed(f"{line}: bytes went by reference all the same")
    # Who confines itself later goes on without libferry's own system calls.
    degrade(net, "a seccomp filter is about to be set", "pass", "confine")
    if referenced(net.client) not in range(7 << 20, 9 << 20):
        raise Failed(f"{referenced(net.client)} bytes went by reference before the filter, which should be the first of two buffers of 8 MiB")
    net.client.tier2_expected = True


def degrade(net, line, how, *whats):
    net.options.scheme = "emulated"
    server = net.server.spawn(net.python("large.py", "serve", "9400"))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    modules = os.path.dirname(net.python("confine.py")[-1])
    program = f"import ctypes, os, resource, sys; sys.path.insert(0, {modules!r}); import confine; {how}; os.execv(sys.argv[1], sys.argv[1:])"
    words = net.client.command(net.python("large.py", "send", net.target, "9400", "8", *whats))
    at = next(i for i, word in enumerate(words) if os.path.basename(word) == "ferry")
    done = subprocess.run([*words[:at], "/usr/bin/python3", "-B", "-c", program, *words[at:]], capture_output=True, text=True, timeout=40)
    if done.returncode != 0 or done.stderr.count(line) != 1 or len(done.stderr.splitlines()) != 1:
        raise Failed(f"{line}: {done.returncode}\n{done.stdout}{done.stderr}")
    if server.wait(30).code != 0:
        raise Failed(f"{line}: the server's side\n{server.tail()}")
