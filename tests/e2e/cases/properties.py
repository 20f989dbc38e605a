"""The properties of I/O-oriented IPC end to end, by the numbers of "Properties" in docs/testing.md, each beside a hostile client.

The hostile client breaks every promise of the channel at the ferryd whose programs are tested; with a sanitized ferryd (run.py --ferryd)
any report fails the test as well. What needs a look inside (which pages were copied) is in tests/unit under the same names.
"""
import contextlib
import os
import re
import signal
import subprocess
import threading
import time

from attack import hostile_client
from cases import CLIENT_AND_SERVER, FERRY_FERRY, FERRY_KERNEL, KERNEL_FERRY, SELF, case
from cases.passing import large, least_swapped, referenced
from evidence import number
from harness import Failed, eventually

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCHEMES = ("shared", "emulated", "copy")
MOST_SECONDS = 120
SLOW_PATH = ("--rate", "200", "--loss", "1", "--reorder", "1", "--hold", "2", "--seed", "11")


def compiled(net, name, *flags):
    program = os.path.join(net.folder, name)
    subprocess.run(["gcc", "-std=gnu17", "-O2", "-Wall", *flags, "-o", program, os.path.join(HERE, "properties", name + ".c")], check=True)
    os.chmod(program, 0o755)
    return program


def serve(net, words, port):
    server = net.server.spawn(words)
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, f"port {port} listens\n" + server.tail())
    return server


def finish(server, seconds):
    if server.wait(seconds).code != 0:
        raise Failed(f"the server's side\n{server.tail()}")
    return server.output()[0]


@case((FERRY_KERNEL, FERRY_FERRY), timeout=150, relay=SLOW_PATH)
def property_1_output_integrity(net):
    """What is sent is what the buffer held when send(2) was called, whatever the program does to it while the path is slow."""
    with hostile_client(net, net.client):
        whats = ("overwrite", "free", "again", "change")
        if large(net, 4, *whats, "thread", *whats, "fork", "exit") < 8 * 4 << 20:
            raise Failed("hardly any byte went by reference")


def send_transient(net, program, port, who):
    """Bytes that went by reference; what the sender counted is right."""
    before = referenced(net.client)
    server = serve(net, [program, "serve", str(port)], port)
    print(who, net.client.run([program, "send", net.target, str(port), who], timeout=60).out.strip())
    if "good" not in finish(server, 30):
        raise Failed(f"the server's side\n{server.tail()}")
    return referenced(net.client) - before


@case((FERRY_KERNEL, FERRY_FERRY), timeout=150)
def property_2_transience(net):
    """A write to pending output copies the small pages that it touches, one after it is complete none; nobody's writes are lost in between."""
    net.options.scheme = "emulated"
    program, size, rounds = compiled(net, "transience", "-pthread"), 4 << 20, 24
    with hostile_client(net, net.client):
        if (sent := send_transient(net, program, 9411, "count")) < rounds * size:
            raise Failed(f"only {sent} bytes went by reference")
        for port, who in enumerate(("thread", "signal", "clone", "aio"), 9412):
            if send_transient(net, program, port, who) < size:
                raise Failed(f"{who}: no bytes went by reference")


@case((KERNEL_FERRY, FERRY_FERRY), timeout=100, relay=("--corrupt", "20", "--direction", "forth", "--seed", "3"))
def property_3_input_integrity(net):
    """Wrong checksums, time-outs and resets leave the buffer of a receive as it was."""
    with hostile_client(net, net.server):
        server = serve(net, net.python("integrity.py", "serve", "9410"), 9410)
        before = net.server.stat()
        net.client.run(net.python("integrity.py", "send", net.target, "9410", "6000" if net.options.full else "2000"), timeout=60)
        came, timed_out = (int(word) for word in finish(server, 20).split() if word.isdigit())
        dropped = number(net.server.stat(), "drops", "udp_checksum") - number(before, "drops", "udp_checksum")
    if came < 100 or timed_out < 5 or dropped < 100:
        raise Failed(f"{came} datagrams came, {timed_out} receives timed out, {dropped} checksums were wrong: too few to prove anything")


def transfers(out):
    told = re.search(r"transfers: (\d+)", out)
    return int(told[1]) if told else 0


def edges(net, attacked, schemes=SCHEMES, flags=(), least=50 << 20):
    """The sweep with every scheme in turn, both ways; `least`: bytes that go by reference."""
    program, full = compiled(net, "edges", *flags), "1" if net.options.full else "0"
    with hostile_client(net, attacked):
        for port, scheme in enumerate(schemes, 9420):
            net.options.scheme = scheme
            before = referenced(attacked)
            server = serve(net, [program, "serve", str(port)], port)
            limit = 5 * MOST_SECONDS if net.options.full else MOST_SECONDS
            client = net.client.run([program, "send", net.target, str(port), full], timeout=limit)
            if min(transfers(finish(server, 30)), transfers(client.out)) < (40000 if net.options.full else 20000):
                raise Failed(f"{scheme}: too few transfers\n{client.out}")
            if scheme == "emulated" and referenced(attacked) - before < least:
                raise Failed(f"only {referenced(attacked) - before} bytes went by reference")


@case(CLIENT_AND_SERVER, timeout=200)
def property_4_edges(net):
    """Any offset, any length, with every scheme: byte by byte what a copy would have been, and nothing around it."""
    edges(net, net.client if net.client.on_ferry() else net.server)


@case(CLIENT_AND_SERVER, timeout=200, ferryd=("--swap-kib", "4"))
def property_4_edges_swap(net):
    """The same with pages exchanged for little: bytes around the buffers move with them, and stay what they were."""
    edges(net, net.client if net.client.on_ferry() else net.server, ["emulated"])
    for side in net.sides:
        if side.on_ferry():
            least_swapped(side, 50 << 20)


@case((KERNEL_FERRY,), timeout=200, ferryd=("--swap-kib", "4"), no_sanitizer="its program has an AddressSanitizer of its own")
def property_4_edges_swap_sanitized(net):
    """Once more with a program that looks at every access of its own. Its malloc is the sanitizer's, so that only its mapping comes from a region."""
    edges(net, net.server, ["emulated"], ("-fsanitize=address,undefined", "-static-libasan", "-static-libubsan"), 0)
    least_swapped(net.server, 50 << 20)


def exchange_pages(net, rounds):
    """Runs pages.py; both ends exchange pages."""
    net.options.scheme = "emulated"
    ports = range(9440, 9442)
    servers = [serve(net, net.python("pages.py", "serve", str(port), str(rounds)), port) for port in ports]
    clients = [net.client.spawn(net.python("pages.py", "send", net.target, str(port), str(rounds))) for port in ports]
    for process in clients + servers:
        if process.wait(MOST_SECONDS).code != 0:
            raise Failed(f"other bytes\n{process.tail()}\n" + "\n".join(s.tail() for s in servers))


@case((KERNEL_FERRY, FERRY_FERRY), timeout=150, ferryd=("--swap-kib", "64"))
def property_4_swap_confidentiality(net):
    """Two clients of one ferryd receive other bytes into pages of which they get some only, fail, and fork: neither ever sees what is the other's."""
    with hostile_client(net, net.server):
        exchange_pages(net, 60 if net.options.full else 20)
    least_swapped(net.server, 10 << 20)


@case((SELF,), timeout=200)
def property_4_edges_same_host(net):
    """The same between two clients of one ferryd, past it."""
    seen = []  # not from ferryd's sum, to which the attacker adds what it likes
    def passes():
        return any(s.get("process") == "edges" and s.get("passed_out", 0) > 50 << 20 for s in net.client.sockets())
    watch = threading.Thread(target=lambda: seen.append(eventually(passes, MOST_SECONDS, "bytes go past ferryd")))
    watch.start()
    edges(net, net.client)
    watch.join()
    if not seen:
        raise Failed("hardly any bytes went past ferryd")


def copies_of(side, but=()):
    """Payload bytes that were copied in this side's ferryd, by where."""
    stat = side.stat()
    return {kind: n for kind, n in {**stat["copies"], "core": number(stat, "stack", "payload_bytes_copied")}.items() if kind not in but}


@case((FERRY_KERNEL, FERRY_FERRY), timeout=100)
def property_5_copy_accounting(net):
    """Whole pages that are sent by reference are copied nowhere between the program and the link."""
    size = 16 << 20
    for attacked in (False, True):  # at first alone, since the attacker refers to bytes as well
        with hostile_client(net, net.client, neighbour=False) if attacked else contextlib.nullcontext():
            but = ("gather", "core") if attacked else ()  # only datagrams, and those are the attacker's
            before = copies_of(net.client, but)
            if (sent := large(net, size >> 20, "again", "again")) < 4 * size:
                raise Failed(f"{sent} of {4 * size} bytes went by reference")
            now = copies_of(net.client, but)
        if any(now[kind] - before[kind] > 1 << 16 for kind in now):  # what came in are answers of 32 bytes
            raise Failed(f"copies while {4 * size} bytes were sent: {before} before, {now} after")


@case((KERNEL_FERRY, FERRY_FERRY), timeout=100)
def property_5_copy_accounting_of_input(net):
    """Whole pages that are exchanged are copied nowhere between the link and the program, but for what comes before they are asked for."""
    net.options.scheme = "emulated"
    count, size = 12, 16 << 20
    with hostile_client(net, net.server, neighbour=False):  # what the two exchange would be counted, too
        server = serve(net, net.python("pages.py", "count", "9450", str(count), str(size)), 9450)
        copies = copies_of(net.server, ("gather", "core"))  # those are the attacker's datagrams
        net.client.run(net.python("pages.py", "stream", net.target, "9450", str(count), str(size)), timeout=60)
        now = copies_of(net.server, ("gather", "core"))
        exchanged = int(re.search(r"exchanged: (\d+)", finish(server, 30))[1])
    passing = net.server.stat()["passing"]
    least_swapped(net.server, int(count * size * 0.98))
    if exchanged < count * size // (2 << 20) * 0.98:
        raise Failed(f"{exchanged} pages were exchanged, by what the kernel maps; ferryd was told of {passing['swapped_pages']}")
    if passing["placed_in_pages"] < count * size * 0.8:
        raise Failed(f"only {passing['placed_in_pages']} of {count * size} bytes were put into pages of the client's")
    if sum(now[kind] - copies[kind] for kind in now) > count * size / 100:
        raise Failed(f"copies in ferryd while {count * size} bytes came: {copies} before, {now} after")


def forward(net, side, seconds):
    """iperf3 for so long: bytes that went over the link of this side, that its ferryd summed, and that it copied."""
    server = net.server.spawn(["iperf3", "-s", "-1"])
    net.server.wait_listening(5201, process=server)
    before, copies = side.stat(), sum(copies_of(side).values())
    net.client.run(["iperf3", "-c", net.target, "-t", str(seconds), "-J"])
    now = side.stat()
    moved = max(sum(link[way] for link in now["links"]) - sum(link[way] for link in before["links"]) for way in ("tx_bytes", "rx_bytes"))
    read = number(now, "stack", "payload_bytes_summed") - number(before, "stack", "payload_bytes_summed")
    return moved, read, sum(copies_of(side).values()) - copies


@case((FERRY_KERNEL, KERNEL_FERRY), timeout=60, needs=("iperf3",))
def property_7_forwarding_without_touching(net):
    """Where the interface sums, the protocols look at headers only: of gigabytes that ferryd forwards it reads no byte."""
    side = net.client if net.client.on_ferry() else net.server
    moved, read, copied = forward(net, side, 3)
    if moved < 100 << 20:
        raise Failed(f"only {moved} bytes went over the link")
    if read > 1 << 16 or copied > moved / 100:
        raise Failed(f"of {moved} bytes, {read} were summed and {copied} copied in ferryd")
    if side is net.client:
        return
    # Small frames that nobody has summed are read and copied, once each: had that been so before, the counters would have said it.
    net.client.inside("ethtool", "-K", "eth0", "tx", "off")
    moved, read, copied = forward(net, side, 1)
    if read < moved * 0.8 or copied < moved * 0.8:
        raise Failed(f"of {moved} bytes in small frames, {read} were counted as summed and {copied} as copied in ferryd")


def refers(side, pid):
    """Whether this process has sent by reference."""
    return any(s.get("pid") == pid and s.get("referenced_out", 0) > 0 for s in side.sockets())


@case((FERRY_KERNEL,), timeout=150, relay=("--rate", "400"))
def property_8_safe_lifetime(net):
    """Clients are killed while their pages are on the way: the peer gets nothing but what was sent, and all memory comes back."""
    net.options.scheme = "emulated"
    cut = 0
    with hostile_client(net, net.client):
        for turn in range(30 if net.options.full else 8):
            server = serve(net, net.python("large.py", "serve", "9400"), 9400)
            victim = net.client.spawn(net.python("large.py", "send", net.target, "9400", "16", *["again", "fork", "free"] * 4, "exit"))
            eventually(lambda: refers(net.client, victim.pid) or not victim.running(), 20, "output by reference begins")
            time.sleep(0.05 * turn)
            victim.stop(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):  # between two connections, there is nothing that could end
                server.popen.wait(5)
            server.stop(signal.SIGKILL)
            out = server.output()[0]
            if "bad" in out:
                raise Failed(f"the peer got other bytes\n{server.tail()}")
            cut += "good up to the cut" in out
        if cut < 2:
            raise Failed(f"only {cut} clients were killed while their bytes were on the way")
        server = serve(net, net.python("large.py", "serve", "9400"), 9400)
        net.client.run(net.python("large.py", "send", net.target, "9400", "16", "overwrite", "fork", "exit"), timeout=60)
        finish(server, 30)
    eventually(lambda: number(net.client.stat(), "memory", "channels") == 0, 20, "all channels are gone")
    memory = net.client.stat()["memory"]
    if memory["staging_bytes"] != 0 or memory["input_bytes"] != 0:
        raise Failed(f"memory did not come back: {memory}")
