"""What the ferry command shows: ss, stat, ping, capture, version; and the other schemes of passing data."""
import json
import os
import re
import subprocess
import tempfile

from cases import CLIENT_AND_SERVER, FERRY_FERRY, FERRY_KERNEL, KERNEL_FERRY, case
from cases.http import random_file, sha256_of, start_nginx
from evidence import number
from harness import Failed, Process, eventually


@case((KERNEL_FERRY,), needs=("nginx", "curl"))
def ferry_ss_and_stat(net):
    start_nginx(net.server, net)
    net.client.run(["curl", "-sS", f"http://{net.target}/hello"])
    table = net.server.ferry("ss", "-t", "-l").out
    line = re.search(r"^tcp\s+LISTEN\s+\d+\s+\d+\s+\S+:80\s.*nginx.*pid=\d+", table, re.MULTILINE)
    if not line:
        raise Failed(f"ferry ss does not show nginx:\n{table}")
    if "LISTEN" in net.server.ferry("ss", "-u").out:
        raise Failed("ferry ss -u shows a TCP listener")
    stat = net.server.stat()
    if not stat["links"][0]["rx_frames"] or stat["clients"] < 3 or stat["pid"] != net.server.ferryd.pid:
        raise Failed(f"ferry stat: {stat}")
    lines = net.server.ferry("stat", "links").out
    if "rx_frames" not in lines or any(not line.startswith("links") for line in lines.splitlines()):
        raise Failed(f"ferry stat links:\n{lines}")
    if "ferryd " not in net.server.ferry("version").out:
        raise Failed("ferry version does not show ferryd's")


@case((FERRY_KERNEL, FERRY_FERRY))
def ferry_ping(net):
    done = net.client.ferry("ping", "-c", "3", "-i", "0.1", net.target)
    if done.code != 0 or "3 sent, 3 received" not in done.out:
        raise Failed(f"ferry ping: {done.code}\n{done.out}{done.err}")
    done = net.client.ferry("ping", "-c", "1", "-s", "20000", net.target)  # in fragments
    if done.code != 0:
        raise Failed(f"ferry ping -s 20000: {done.out}{done.err}")
    done = net.client.ferry("ping", "-c", "1", "-W", "0.5", "10.9.0.77")
    if done.code != 1 or "0 received" not in done.out:
        raise Failed(f"ping of nobody: {done.code}\n{done.out}")
    net.client.kernel_use_expected = net.server.kernel_use_expected = True  # no program ran


@case((KERNEL_FERRY,))
def ferry_answers_ping(net):
    """The kernel's ping, to Ferry: small and in fragments."""
    script = net.python("ping.py", net.target)
    net.client.run(script)


@case((FERRY_KERNEL,), needs=("tshark", "nginx", "curl"))
def ferry_capture(net):
    start_nginx(net.server, net)
    path = os.path.join(net.folder, "seen.pcapng")
    words = ["ip", "netns", "exec", net.client.netns, net.options.program("ferry"), "capture", "--socket", net.client.socket, "-w", path]
    capture = Process([*words, "--filter", "tcp port 80"], net.log_path("capture"))
    try:
        eventually(lambda: "capturing" in capture.output()[1] or not capture.running(), 10, "capture starts")
        net.client.ferry("ping", "-c", "1", net.target)  # not to be in it
        net.client.run(["curl", "-sS", f"http://{net.target}/hello"])
        capture.stop(2)
    finally:
        capture.stop()
    if capture.popen.returncode != 0:
        raise Failed(f"ferry capture ended with {capture.popen.returncode}\n{capture.tail()}")
    done = subprocess.run(["tshark", "-r", path, "-T", "fields", "-e", "frame.protocols", "-e", "http.request.uri",
                           "-e", "http.response.code", "-e", "tcp.checksum.status"],
                          capture_output=True, text=True, timeout=30, env={**os.environ, "HOME": net.folder})
    if done.returncode != 0:
        raise Failed(f"tshark cannot read the file: {done.stderr}")
    if "/hello" not in done.stdout or "200" not in done.stdout or "icmp" in done.stdout:
        raise Failed(f"tshark shows\n{done.stdout}")
    verbose = subprocess.run(["tshark", "-r", path, "-Y", "tcp.flags.syn==1"], capture_output=True, text=True, timeout=30,
                             env={**os.environ, "HOME": net.folder}).stdout
    if len(verbose.splitlines()) != 2:
        raise Failed(f"a connection has two SYNs, tshark shows\n{verbose}")


@case(CLIENT_AND_SERVER, needs=("nginx", "curl"))
def scheme_copy(net):
    """The traditional way, through the kernel's socket pair: the baseline for comparisons, and proof that tier 2 is complete."""
    net.options.scheme = "copy"
    start_nginx(net.server, net)
    wanted = random_file(net, "big", 32)
    got = os.path.join(net.folder, "got")
    net.client.run(["curl", "-sS", "--fail", "-o", got, f"http://{net.target}/big"])
    if sha256_of(got) != wanted:
        raise Failed("the download differs from the file")
    for side in (net.client, net.server):
        if side.on_ferry() and not (number(side.stat(), "tier2", "bytes_to_client") or 0) + \
                (number(side.stat(), "tier2", "bytes_from_client") or 0):
            raise Failed(f"--scheme copy moved no byte by tier 2 on the {side.name} side")


@case((FERRY_KERNEL,), needs=("nginx", "curl"))
def record_and_replay(net):
    """What ferryd recorded while a program ran comes out the same when it is replayed."""
    side, recording = net.client, os.path.join(net.folder, "recording")
    side.watch.stop()
    side.ferryd.stop()
    side.start_ferryd("eth0", ["--record", recording])
    start_nginx(net.server, net)
    random_file(net, "big", 4)
    net.client.run(["curl", "-sS", "--fail", "-o", "/dev/null", f"http://{net.target}/big"])
    side.ferry("ping", "-c", "1", net.target)
    done = subprocess.run([net.options.program("ferry"), "replay", recording], capture_output=True, text=True, timeout=30)
    if done.returncode != 0 or "identical" not in done.stdout:
        raise Failed(f"ferry replay: {done.returncode}\n{done.stdout}{done.stderr}")
    with open(recording, "r+b") as changed:  # another byte from the wire: another run
        data = changed.read()
        at = data.index(b"HTTP/1.1 200 OK")
        changed.seek(at)
        changed.write(b"HTTQ")
    done = subprocess.run([net.options.program("ferry"), "replay", recording], capture_output=True, text=True, timeout=30)
    if done.returncode == 0:
        raise Failed("a changed recording replays as if nothing had happened")
    with open(recording, "wb") as nonsense:
        nonsense.write(b"no recording at all")
    done = subprocess.run([net.options.program("ferry"), "replay", recording], capture_output=True, text=True, timeout=30)
    if done.returncode != 1 or "not a recording" not in done.stderr:
        raise Failed(f"nonsense: {done.returncode} {done.stderr}")


@case((FERRY_FERRY,), timeout=120, needs=("gnuplot",), bare=True, no_sanitizer="the bench starts programs by itself")
def bench_passing(options):
    """ferry bench passing: every scheme carries every size byte for byte (its programs compare), and the plots are drawn."""
    sizes, schemes = [1, 5000, 3 << 20], ["kernel", "copy", "shared", "emulated"]
    with tempfile.TemporaryDirectory(prefix="ferry-passing-") as folder:
        report = os.path.join(folder, "passing.json")
        done = subprocess.run([options.program("ferry"), "bench", "passing", "--rounds", "1", "--seconds", "0.02", "--json", report,
                               "--plots", folder, "--schemes", *schemes, "--sizes", *map(str, sizes)],
                              capture_output=True, text=True, timeout=100, check=False)
        if done.returncode != 0:
            raise Failed(f"ferry bench passing: {done.returncode}\n{done.stdout}{done.stderr}")
        with open(report) as text:
            results = json.load(text)["results"]
        wanted = {(place, kind, size, scheme) for place in ("wire", "host") for kind in ("latency", "throughput") for size in sizes
                  for scheme in schemes}
        got = {(r["place"], r["kind"], r["bytes"], r["scheme"]) for r in results if r["value"] > 0}
        if got != wanted:
            raise Failed(f"not measured: {wanted - got}")
        for name in ("latency", "throughput", "cpu"):
            for place in ("wire", "host"):
                with open(os.path.join(folder, f"{name}-{place}.svg")) as plot:
                    drawn = plot.read()
                if drawn.count("<path") < len(schemes) or any(scheme not in drawn for scheme in schemes):
                    raise Failed(f"{name}-{place}.svg lacks a line")
