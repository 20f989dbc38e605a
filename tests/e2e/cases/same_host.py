"""Two clients of one ferryd: their bytes go past it (docs/architecture.md, "Same host"). Counted, not timed."""
import os
import subprocess

from cases import LOOPBACK, SELF, case
from harness import Failed, Process, eventually


def counters(net):
    return net.server.stat()["server"]


def passing(net):
    return [s for s in net.server.sockets() if s.get("mode") == "passing"]


@case((LOOPBACK, SELF), timeout=90, needs=("iperf3",))
def same_host(net):
    server = net.server.spawn(["iperf3", "-s", "-1"])
    net.server.wait_listening(5201, process=server)
    client = net.client.spawn(["iperf3", "-c", net.target, "-n", "8G", "-J"])
    eventually(lambda: any(s["passed_out"] > 1 << 26 for s in passing(net)) or not client.running(), 30, "bytes are passed")
    shown = net.server.ferry("ss", "-e").out
    if "mode:passing" not in shown or "passed_out:" not in shown:
        raise Failed(f"ferry ss -e shows\n{shown}")
    result = client.wait(60)
    if result.code != 0:
        raise Failed(f"iperf3: {client.tail()}")
    c = counters(net)
    if c["passages_entered"] == 0 or c["passed_bytes"] < 7 << 30:
        raise Failed(f"8 GiB were sent, {c['passed_bytes']} bytes passed, {c['passages_entered']} passages")
    if c["copied_in_shared"] + c["copied_in_again"] > 1 << 30:
        raise Failed(f"ferryd copied {c['copied_in_shared']} + {c['copied_in_again']} bytes")
    eventually(lambda: counters(net)["passages_left"] == counters(net)["passages_entered"], 10, "every passage is left")


@case((LOOPBACK,), timeout=90, needs=("iperf3", "tshark"))
def same_host_capture(net):
    """A capture sees packets of a connection that had none before; afterwards they go past ferryd again."""
    server = net.server.spawn(["iperf3", "-s", "-1"])
    net.server.wait_listening(5201, process=server)
    client = net.client.spawn(["iperf3", "-c", net.target, "-t", "30", "-b", "400M"])
    eventually(lambda: passing(net), 20, "a passage")
    path = os.path.join(net.folder, "seen.pcapng")
    capture = Process(["ip", "netns", "exec", net.client.netns, net.options.program("ferry"), "capture", "--socket", net.client.socket,
                       "-w", path], net.log_path("capture"))
    try:
        eventually(lambda: counters(net)["capture_packets"] > 100, 10, "packets are captured")
        if passing(net):
            raise Failed("bytes go past ferryd while somebody captures")
        capture.stop(2)
    finally:
        capture.stop()
    done = subprocess.run(["tshark", "-r", path, "-Y", "tcp.port == 5201 && tcp.len > 0", "-T", "fields", "-e", "tcp.len"],
                          capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": net.folder})
    if len(done.stdout.split()) < 50:
        raise Failed(f"tshark shows {len(done.stdout.split())} segments with data\n{done.stderr}")
    eventually(lambda: passing(net), 20, "a passage again")
    client.stop()
