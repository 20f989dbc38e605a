"""Much data over good and bad paths, many connections, and nothing while nothing happens."""
import os
import subprocess
import time

from cases import EVERYWHERE, FERRY_FERRY, FERRY_KERNEL, case
from cases.load import iperf3_client, start_iperf3
from evidence import number, reports_of
from harness import Failed, eventually

BAD_PATH = ("--loss", "2", "--duplicate", "1", "--reorder", "2", "--hold", "2", "--seed", "7")


def transfer(net, megabytes, streams, seconds):
    server = net.server.spawn(net.python("stream.py", "serve", "9000", str(streams)))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    net.client.run(net.python("stream.py", "send", net.target, "9000", str(megabytes), str(streams)), timeout=seconds)
    if server.wait(20).code != 0:
        raise Failed(f"the server's side\n{server.tail()}")


@case(EVERYWHERE, timeout=90)
def transfer_clean(net):
    transfer(net, 128, 4, 70)


@case(timeout=90, offloads=False)
def transfer_plain(net):
    """Over a veth that neither segments nor joins, ferryd joins what comes in a row."""
    transfer(net, 64, 4, 70)
    for side in (net.client, net.server):
        if not side.on_ferry():
            continue
        counters = side.stat()["server"]
        frames, segments = counters["joined_frames"], counters["joined_segments"]
        if side is net.server and (frames < 1000 or frames < 2 * segments):
            raise Failed(f"{frames} frames were joined into {segments} segments")


@case(timeout=90, link="xdp")
def transfer_xdp(net):
    """By AF_XDP: every byte right, and segments are joined here as well."""
    transfer(net, 64, 4, 70)
    if net.server.on_ferry() and net.server.stat()["server"]["joined_frames"] < 1000:
        raise Failed(f"few frames were joined: {net.server.stat()['server']}")


BIG_TCP = 196608


def check_big_frames(net):
    """One stream of iperf3: what it sends goes in frames that are longer than an IPv4 packet can say."""
    start_iperf3(net.server)
    links = {side: side.stat()["links"][0] for side in net.sides if side.on_ferry()}
    iperf3_client(net)
    for side, before in links.items():
        way = "tx" if side is net.client else "rx"
        after = side.stat()["links"][0]
        frames, size = (after[f"{way}_{what}"] - before[f"{way}_{what}"] for what in ("frames", "bytes"))
        if size < 70000 * frames:
            raise Failed(f"{side.name}: {frames} frames of {size / max(frames, 1):.0f} bytes")


@case(timeout=120, needs=("iperf3",), gso_max_size=BIG_TCP)
def transfer_big_tcp(net):
    """Every byte right where segments may be of more than 64 KiB until the interface cuts them, and they are."""
    transfer(net, 128, 4, 70)
    check_big_frames(net)


@case((FERRY_KERNEL, FERRY_FERRY), timeout=150, relay=BAD_PATH, gso_max_size=BIG_TCP)
def transfer_big_tcp_bad_path(net):
    transfer(net, 24, 4, 130)


@case(timeout=150, relay=BAD_PATH)
def transfer_bad_path(net):
    """2% loss, 1% duplicates, 2% out of order, both ways: every byte right."""
    transfer(net, 1024 if net.options.full else 24, 4, 2400 if net.options.full else 130)


def memory_of(side):
    """Resident and shared memory of ferryd, in KiB."""
    with open(f"/proc/{side.ferryd.pid}/status") as lines:
        fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmRSS"].split()[0])


@case(timeout=120)
def many_connections(net):
    """10,000 connections in turn, 1,000 at once; ferryd's memory is back where it was."""
    server = net.server.spawn(net.python("connections.py", "serve", "9100"))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())

    def run(total):
        return net.client.run(net.python("connections.py", "open", net.target, "9100", str(total), "1000"), timeout=100).out

    run(1000)  # everything has been used once: pools have their size
    sides = [side for side in (net.client, net.server) if side.on_ferry()]
    before = {side: memory_of(side) for side in sides}
    out = run(10000)
    if out.split()[0] != "opened" or int(out.split()[1]) < 11000 or int(out.split()[4]) < 1000:
        raise Failed(f"the server counted: {out}")
    if net.options.ferryd:  # with sanitizers memory tells nothing
        return
    for side in sides:
        eventually(lambda side=side: memory_of(side) <= before[side] * 1.1 + 4096, 10,
                   f"ferryd's memory is back ({before[side]} KiB before, {memory_of(side)} KiB now)", every=0.5)


def usage(pid):
    """CPU ticks and context switches of a process, all its threads."""
    with open(f"/proc/{pid}/stat") as line:
        fields = line.read().rpartition(")")[2].split()
    switches = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as lines:
            switches += sum(int(text.split()[1]) for text in lines if "ctxt_switches" in text)
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK"), switches


@case(timeout=60, serial=True)
def idle(net):
    """100 open connections, nothing to do: no CPU, hardly a context switch, in ferryd and in both programs."""
    server = net.server.spawn(net.python("connections.py", "serve", "9200"))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    keep, end = os.pipe()
    with os.fdopen(keep), os.fdopen(end, "w"):
        client = net.client.spawn(net.python("connections.py", "hold", net.target, "9200", "100"), stdin=keep)
        eventually(lambda: "holding" in client.output()[0] or not client.running(), 20, "100 connections\n" + client.tail())
        time.sleep(3)
        for side in (net.client, net.server):
            if side.watch:
                side.watch.stop()
        watched = {f"{side.name} {name}": pid for side, program in ((net.client, client), (net.server, server))
                   for name, pid in (("program", program.pid), ("ferryd", side.ferryd.pid if side.ferryd else None)) if pid}
        before = {name: usage(pid) for name, pid in watched.items()}
        time.sleep(10)
        for name, pid in watched.items():
            milliseconds, switches = (now - then for now, then in zip(usage(pid), before[name]))
            if milliseconds > 10 or switches > 20:
                raise Failed(f"idle for 10 s, {name} used {milliseconds} ms and {switches} context switches")


@case(("ferry-kernel", "ferry-ferry"), timeout=180)
def killed_clients(net):
    """SIGKILL of a program and of forked children that share its sockets, at random instants: nothing is left in ferryd."""
    server = net.server.spawn(net.python("connections.py", "serve", "9300"))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    rounds = 1000 if net.options.full else 40
    net.client.run(["/usr/bin/python3", "-c", "pass"])  # the first client makes what all need
    net.client.stop_programs()
    eventually(lambda: number(net.client.stat(), "clients") == 1, 10, "the first client is forgotten")
    before = memory_of(net.client)
    script = net.python("killer.py", net.target, "9300", str(rounds), "1")
    # killer.py itself is a plain program; what it starts runs on Ferry.
    words = net.client.command(net.python("victim.py", net.target, "9300"))
    done = subprocess.run([*script, *words], capture_output=True, text=True, timeout=160 * (20 if net.options.full else 1))
    if done.returncode != 0:
        raise Failed(done.stdout[-1000:] + done.stderr[-1000:])
    eventually(lambda: number(net.client.stat(), "clients") == 1, 10, "killed clients are forgotten")
    eventually(lambda: not [s for s in net.client.sockets() if s.get("pid")], 10, "killed clients' sockets are gone")
    if net.options.ferryd:  # with sanitizers: memory tells nothing, but a clean stop tells of leaks
        transfer(net, 4, 2, 40)
        net.client.stop_programs()
        net.client.watch.stop()
        net.client.ferryd.stop(patience=60)
        if net.client.ferryd.popen.returncode != 0 or reports_of(net.client):
            raise Failed(f"ferryd ended with {net.client.ferryd.popen.returncode}\n{net.client.ferryd.tail(60)}")
        net.client.kernel_use_expected = True  # the next ferryd may not receive a frame
        return net.client.start_ferryd("eth0")
    # What they closed lingers in TIME_WAIT for a minute (RFC 9293 section 3.6.1), half a KiB each. A channel or pool that stays would be
    # megabytes each.
    lingering = number(net.client.stat(), "tcp", "time_waits")
    if memory_of(net.client) > before * 1.1 + 4096 + lingering / 2:
        raise Failed(f"ferryd's memory grew from {before} to {memory_of(net.client)} KiB over {rounds} killed clients, "
                     f"with {lingering} connections in TIME_WAIT")
    transfer(net, 4, 2, 40)  # others are served as before
