"""What is measured: DESIGN's marks for speed, each with the program, the ends that run on Ferry and the goal."""
import json
import os
import re

from pairs import Row

from cases.bulk import BIG_TCP  # tests/e2e; pairs.py has set the path
from cases.databases import start_redis
from cases.http import random_file, sha256_of, start_nginx
from cases.load import IPERF_PORT, start_iperf3
from harness import Failed

SOCKPERF_PORT = "11111"
TRANSFER_PORT = "5801"


def iperf3(*words):
    def load(net, seconds):
        out = net.client.run(["iperf3", "-c", net.target, "-p", str(IPERF_PORT), "-t", str(seconds), "-J", *words],
                             timeout=seconds + 30).out
        end = json.loads(out)["end"]["sum_received"]
        return end["bits_per_second"] / 1e9, end["bytes"] / 1e9
    return load


def transfer_start(net):
    server = net.server.spawn([net.options.program("ferry-transfer"), "serve", TRANSFER_PORT])
    net.server.wait_listening(TRANSFER_PORT, process=server)


def transfer(net, kind, size, seconds):
    """What ferry-transfer says: bytes and seconds, or round trips."""
    return json.loads(net.client.run([net.options.program("ferry-transfer"), kind, net.target, TRANSFER_PORT, str(size), str(seconds)],
                                     timeout=seconds * 10 + 60).out)


def transfer_load(kind):
    def load(net, seconds):
        out = transfer(net, kind, 4 << 20, seconds)
        return out["bytes"] * 8 / 1e9 / out["seconds"], out["bytes"] / 1e9
    return load


def sockperf_start(net):
    server = net.server.spawn(["sockperf", "server", "-i", "0.0.0.0", "-p", SOCKPERF_PORT, "--tcp"])
    net.server.wait_listening(SOCKPERF_PORT, process=server)


def sockperf_load(net, seconds):
    # Without --mps sockperf has numbers for so many messages only, and fails when a trip takes less than a third of a microsecond.
    out = net.client.run(["sockperf", "ping-pong", "--tcp", "-m", "64", "-i", net.target, "-p", SOCKPERF_PORT, "--mps", "1000000",
                          "-t", str(max(1, int(seconds)))], timeout=seconds + 30).out
    median = re.search(r"percentile 50\.000 =\s+([\d.]+)", out)
    trips = re.search(r"ReceivedMessages=(\d+)", out)
    if not median or not trips:
        raise Failed(f"sockperf says:\n{out[-1000:]}")
    return float(median[1]), int(trips[1])


def redis_load(net, seconds):
    requests = int(30000 * seconds)
    out = net.client.run(["redis-benchmark", "-h", net.target, "-c", "50", "-n", str(requests), "-t", "get", "-q", "--csv"],
                         timeout=120).out
    rate = re.search(r'"GET","([\d.]+)"', out)
    if not rate:
        raise Failed(f"redis-benchmark says:\n{out[-1000:]}")
    return float(rate[1]) / 1000, requests


def run_wrk(net, seconds, page, *words):
    """Requests a second, requests."""
    out = net.client.run(["wrk", "-t", "2", "-d", str(max(1, int(seconds))), *words, f"http://{net.target}/{page}"], timeout=seconds + 30).out
    rate, requests = re.search(r"Requests/sec:\s+([\d.]+)", out), re.search(r"(\d+) requests in", out)
    if not rate or "Non-2xx" in out:
        raise Failed(f"wrk says:\n{out}")
    return float(rate[1]), int(requests[1])


def wrk(*words):
    def load(net, seconds):
        rate, requests = run_wrk(net, seconds, "hello", "-c", "64", *words)
        return rate / 1000, requests
    return load


FILE_BYTES = 1 << 20


def file_start(net):
    start_nginx(net.server, net)
    random_file(net, "file", FILE_BYTES >> 20)


def file_load(net, seconds):
    rate, requests = run_wrk(net, seconds, "file", "-c", "8")
    return rate * FILE_BYTES * 8 / 1e9, requests * FILE_BYTES / 1e9


def curl_start(net):
    start_nginx(net.server, net)
    net.wanted = random_file(net, "big", 256)


def curl_load(net, _):
    got = os.path.join(net.folder, "got")
    out = net.client.run(["curl", "-sS", "--fail", "-o", got, "-w", "%{speed_download} %{size_download}",
                          f"http://{net.target}/big"], timeout=60).out
    speed, size = (float(n) for n in out.split())
    return speed * 8 / 1e9, size / 1e9


def curl_check(net):
    got = os.path.join(net.folder, "got")
    if sha256_of(got) != net.wanted:
        raise Failed("the downloaded file differs: its SHA-256 is wrong")
    os.unlink(got)


def nginx_start(net):
    start_nginx(net.server, net)


def redis_start(net):
    start_redis(net.server, net)


def iperf3_start(net):
    start_iperf3(net.server)


FF, FK, KF = ("ferry", "ferry"), ("ferry", "kernel"), ("kernel", "ferry")
SELF, KERNEL_SELF = ("self", "self"), ("kernel-self", "kernel-self")
BULK = {"unit": "Gb/s", "work_unit": "CPU-s/GB"}
TRIP = {"unit": "µs", "work_unit": "CPU-µs/trip", "lower_is_better": True}
RATE = {"unit": "k/s", "work_unit": "CPU-µs/request"}

ROWS = [
    Row("iperf3-ff", "iperf3, one stream, Ferry ↔ Ferry", FF, iperf3_start, iperf3(), goal=2.0, cpu_goal=0.6, **BULK),
    Row("iperf3-emulated-ff", "the same, `--scheme emulated`", FF, iperf3_start, iperf3(), goal=2.0, cpu_goal=0.6, scheme="emulated", **BULK),
    Row("iperf3-big-ff", "iperf3, one stream, Ferry ↔ Ferry, `--gso-max-size 196608`", FF, iperf3_start, iperf3(), goal=2.0, cpu_goal=0.6,
        gso_max_size=BIG_TCP, **BULK),
    Row("iperf3-big-emulated-ff", "the same, `--scheme emulated`", FF, iperf3_start, iperf3(), goal=2.0, cpu_goal=0.6, scheme="emulated",
        gso_max_size=BIG_TCP, **BULK),
    Row("iperf3-pinned-ff", "the same, each end on a processor of its own", FF, iperf3_start, iperf3(), goal=2.0, cpu_goal=0.6,
        scheme="emulated", gso_max_size=BIG_TCP, pinned=True, **BULK),
    Row("iperf3-big-all-ff", "the same, against a kernel with packets as large", FF, iperf3_start, iperf3(), scheme="emulated",
        gso_max_size=BIG_TCP, kernel_gso_max_size=BIG_TCP, **BULK),
    Row("iperf3-fk", "iperf3, one stream, Ferry → kernel", FK, iperf3_start, iperf3(), goal=1.4, cpu_goal=0.9, **BULK),
    Row("iperf3-kf", "iperf3, one stream, kernel → Ferry", KF, iperf3_start, iperf3(), goal=1.0, cpu_goal=0.9, **BULK),
    Row("iperf3-pinned-kf", "the same, each end on a processor of its own", KF, iperf3_start, iperf3(), goal=1.0, cpu_goal=0.9, pinned=True,
        **BULK),
    Row("iperf3-big-fk", "iperf3, one stream, Ferry → kernel, packets of 192 KiB everywhere", FK, iperf3_start, iperf3(), gso_max_size=BIG_TCP,
        kernel_gso_max_size=BIG_TCP, **BULK),
    Row("iperf3-big-kf", "iperf3, one stream, kernel → Ferry, packets of 192 KiB everywhere", KF, iperf3_start, iperf3(), gso_max_size=BIG_TCP,
        kernel_gso_max_size=BIG_TCP, **BULK),
    Row("iperf3-cubic-ff", "iperf3 with cubic at both ends, Ferry ↔ Ferry", FF, iperf3_start, iperf3("-C", "cubic"), **BULK),
    Row("iperf3-cubic-kf", "iperf3 with cubic at both ends, kernel → Ferry", KF, iperf3_start, iperf3("-C", "cubic"), **BULK),
    Row("sockperf-fk", "sockperf ping-pong 64 B, p50, Ferry ↔ kernel", FK, sockperf_start, sockperf_load, goal=1.0, **TRIP),
    Row("sockperf-busy", "the same with --busy-poll", FK, sockperf_start, sockperf_load, goal=0.7, ferryd_extra=["--busy-poll"],
        **TRIP),
    Row("redis-ff", "redis-benchmark -c 50 GET, Ferry both ends", FF, redis_start, redis_load, goal=1.5, **RATE),
    Row("redis-kf", "redis-benchmark -c 50 GET, Ferry at the server", KF, redis_start, redis_load, goal=1.0, **RATE),
    Row("redis-pinned-kf", "the same, each end on a processor of its own", KF, redis_start, redis_load, goal=1.0, pinned=True, **RATE),
    Row("wrk-ff", "wrk -c 64 on nginx, Ferry both ends", FF, nginx_start, wrk(), goal=1.5, **RATE),
    Row("wrk-kf", "wrk -c 64 on nginx, Ferry at the server", KF, nginx_start, wrk(), goal=1.3, **RATE),
    Row("wrk-engines-kf", "the same, ferryd with two engines", KF, nginx_start, wrk(), ferryd_extra=["--engines", "2"], **RATE),
    Row("wrk-file-ff", "wrk -c 8 on nginx, files of 1 MiB (sendfile), Ferry both ends", FF, file_start, file_load, **BULK),
    Row("wrk-file-kf", "the same, Ferry at the server", KF, file_start, file_load, **BULK),
    Row("wrk-close-ff", "wrk -c 64 on nginx, 12 bytes, Connection: close, Ferry both ends", FF, nginx_start, wrk("-H", "Connection: close"), goal=0.8,
        **RATE),
    Row("wrk-close-kf", "the same, Ferry at the server", KF, nginx_start, wrk("-H", "Connection: close"), goal=0.8,
        **RATE),
    Row("iperf3-plain-fk", "iperf3, veth without offloads, Ferry → kernel", FK, iperf3_start, iperf3(), goal=1.0, offloads=False, **BULK),
    Row("iperf3-plain-kf", "iperf3, veth without offloads, kernel → Ferry", KF, iperf3_start, iperf3(), goal=1.0, offloads=False, **BULK),
    Row("iperf3-self", "same host: iperf3 against the kernel's loopback", SELF, iperf3_start, iperf3(), goal=3.0,
        reference=KERNEL_SELF, **BULK),
    Row("transfer-self", "same host: 4 MiB at a time, one way, `--scheme emulated`", SELF, transfer_start, transfer_load("throughput"), goal=10.0,
        reference=KERNEL_SELF, scheme="emulated", **BULK),
    Row("transfer-read-self", "the same, the receiver looks at all of it", SELF, transfer_start, transfer_load("reading"), reference=KERNEL_SELF,
        scheme="emulated", **BULK),
    Row("transfer-shared-self", "the same, `--scheme shared`", SELF, transfer_start, transfer_load("reading"), reference=KERNEL_SELF, **BULK),
    Row("sockperf-self", "same host: sockperf ping-pong p50", SELF, sockperf_start, sockperf_load, goal=0.3, reference=KERNEL_SELF,
        **TRIP),
    Row("redis-self", "same host: redis-benchmark -c 50 GET", SELF, redis_start, redis_load, goal=2.0, reference=KERNEL_SELF, **RATE),
]

DEMO = [
    Row("curl-fk", "curl, 256 MB from nginx, SHA-256 checked; client on Ferry", FK, curl_start, curl_load, check=curl_check, **BULK),
    Row("curl-kf", "the same; nginx on Ferry", KF, curl_start, curl_load, check=curl_check, **BULK),
    Row("iperf3-fk", "iperf3, Ferry sends to the kernel", FK, iperf3_start, iperf3(), **BULK),
    Row("iperf3-kf", "iperf3, the kernel sends to Ferry", KF, iperf3_start, iperf3(), **BULK),
    Row("iperf3-ff", "iperf3, Ferry to Ferry", FF, iperf3_start, iperf3(), **BULK),
    Row("redis-fk", "redis-benchmark -c 50 GET; client on Ferry", FK, redis_start, redis_load, **RATE),
    Row("redis-kf", "the same; redis on Ferry", KF, redis_start, redis_load, **RATE),
]
