"""Several engines in one ferryd (`--engines N`): what works with one works with several, flows and listeners are spread, and nobody sees it."""
import json
import os
import subprocess

from cases import FERRY_FERRY, FERRY_KERNEL, KERNEL_FERRY, LOOPBACK, SELF, case
from cases.bulk import BAD_PATH, BIG_TCP, idle, killed_clients, many_connections, transfer_bad_path, transfer_big_tcp, transfer_clean
from cases.databases import postgres, redis
from cases.hostile import attacked_by_client, hostile_frames
from cases.http import nginx
from cases.python import python_sockets
from cases.same_host import same_host
from harness import Failed, Process, eventually

for function, stacks, timeout, needs in (
        (transfer_clean, (FERRY_FERRY, LOOPBACK, SELF), 90, ()),
        (many_connections, (FERRY_KERNEL, KERNEL_FERRY, FERRY_FERRY), 120, ()),
        (killed_clients, (FERRY_FERRY,), 180, ()),
        (nginx, (KERNEL_FERRY, FERRY_FERRY, LOOPBACK), 90, ("nginx", "wrk")),
        (redis, (FERRY_FERRY, SELF), 90, ("redis-server", "redis-cli", "redis-benchmark")),
        (postgres, (FERRY_FERRY,), 120, ("psql", "pgbench")),
        (python_sockets, (FERRY_FERRY, LOOPBACK), 60, ()),
        (same_host, (SELF,), 90, ("iperf3",)),
        (hostile_frames, (KERNEL_FERRY,), 100, ())):
    case(stacks, timeout=timeout, needs=needs, engines=3, name=f"engines-{function.__name__.replace('_', '-')}")(function)
case((FERRY_KERNEL,), timeout=150, engines=3, name="engines-hostile-client")(attacked_by_client)
case((FERRY_FERRY,), timeout=150, relay=BAD_PATH, engines=3, name="engines-bad-path")(transfer_bad_path)
case((KERNEL_FERRY,), timeout=60, serial=True, engines=3, name="engines-idle")(idle)
case((KERNEL_FERRY, FERRY_FERRY), timeout=120, needs=("iperf3",), engines=3, gso_max_size=BIG_TCP, name="engines-transfer-big-tcp")(transfer_big_tcp)

PORT = "7700"


def own(net, side):
    return "127.0.0.1" if net.target == "127.0.0.1" else side.address


def spread(side, state):
    """Sockets in that state by engine."""
    found = {}
    for socket in side.sockets():
        if socket["type"] == "tcp" and socket["state"] == state:
            found[socket["engine"]] = found.get(socket["engine"], 0) + 1
    return found


@case((FERRY_KERNEL, KERNEL_FERRY, FERRY_FERRY), engines=3)
def engines_spread(net):
    """Connections of one process, and those that it accepts, are in every engine; its listener is one line of `ferry ss`."""
    server = net.server.spawn(net.python("connections.py", "serve", PORT))
    net.server.wait_listening(PORT, process=server)
    client = net.client.spawn(net.python("connections.py", "hold", net.target, PORT, "60"), stdin=subprocess.PIPE)
    eventually(lambda: "holding" in client.output()[0], 20, "60 connections are open")
    for side in net.sides:
        if not side.ferryd:
            continue
        found = spread(side, "ESTAB")
        if sum(found.values()) != 60 or any(found.get(engine, 0) < 5 for engine in range(3)):
            raise Failed(f"the {side.name} side's connections by engine: {found}")
    if net.server.ferryd and sum(spread(net.server, "LISTEN").values()) != 1:
        raise Failed(f"one listener is shown as {spread(net.server, 'LISTEN')}")
    client.popen.stdin.close()
    client.wait(10)


@case((FERRY_KERNEL, KERNEL_FERRY, FERRY_FERRY, LOOPBACK), engines=3)
def engines_ports(net):
    """Ports that programs choose: connections from them, conflicts among sockets of all engines, listeners that come back at once."""
    server = net.server.spawn(net.python("connections.py", "serve", PORT))
    net.server.wait_listening(PORT, process=server)
    result = net.client.run(net.python("ports.py", "client", net.target, PORT, own(net, net.client)))
    said = result.out + net.server.run(net.python("ports.py", "server", own(net, net.server))).out
    if said.split() != ["chosen", "40", "any", "20", "conflicts", "12", "again", "30", "shared", "2", "blocking", "20"]:
        raise Failed(f"ports.py says\n{said}")


@case((KERNEL_FERRY,), needs=("tshark",), engines=3)
def engines_capture(net):
    """A capture sees the frames of all engines."""
    server = net.server.spawn(net.python("connections.py", "serve", PORT))
    net.server.wait_listening(PORT, process=server)
    path = os.path.join(net.folder, "seen.pcapng")
    capture = Process(["ip", "netns", "exec", net.server.netns, net.options.program("ferry"), "capture", "--socket", net.server.socket,
                       "-w", path], net.log_path("capture"))
    try:
        eventually(lambda: os.path.exists(path) and os.path.getsize(path) > 0, 10, "the capture has begun")
        net.client.run(net.python("connections.py", "open", net.target, PORT, "40", "10"))
        eventually(lambda: net.server.stat()["server"]["capture_packets"] >= 40 * 6, 10, "packets are captured")
        capture.stop(2)
    finally:
        capture.stop()
    seen = subprocess.run(["tshark", "-r", path, "-Y", "tcp.flags.syn == 1", "-T", "json", "-e", "tcp.srcport", "-e", "tcp.dstport"],
                          capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": net.folder})
    ports = {tuple(sorted(p["_source"]["layers"][f][0] for f in ("tcp.srcport", "tcp.dstport"))) for p in json.loads(seen.stdout)}
    if len(ports) < 40:
        raise Failed(f"40 connections and more, the capture has the SYNs of {len(ports)}\n{seen.stderr}")


@case((FERRY_KERNEL,), bare=True, engines=1)
def engines_refused(options):
    """What several engines cannot do is refused at the start, with a sentence."""
    for words, says in ((["--link", "tap:x0", "--address", "10.1.1.1/24", "--engines", "2"], "only packet links spread flows"),
                        (["--loopback", "--engines", "9"], "engines must be a number from 1 to 8"),
                        (["--loopback", "--engines", "2", "--record", "/dev/null"], "record and engines exclude each other"),
                        (["--link", "packet:x0", "--address", "10.1.1.1/24", "--engines", "2", "--server", "tcp=lwip"],
                         "exclude each other")):
        done = subprocess.run([options.program("ferryd"), *words, "--socket", "/tmp/ferry-engines-refused.sock"], capture_output=True,
                              text=True, timeout=20)
        if done.returncode == 0 or says not in done.stderr:
            raise Failed(f"ferryd {' '.join(words)} ended with {done.returncode}, saying {done.stderr}")
