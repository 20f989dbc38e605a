"""Unmodified programs with output by reference: large transfers get through as with copies, and counters tell what was referred to."""
import os

from cases import CLIENT_AND_SERVER, FERRY_FERRY, FERRY_KERNEL, KERNEL_FERRY, case
from cases import databases, http, python, tools
from cases.databases import start_redis
from cases.http import random_file, sha256_of, start_nginx
from cases.passing import least_swapped, referenced
from harness import Failed, eventually


def least_referenced(side, before, least):
    """At least `least` bytes of this side's output went by reference since `before`."""
    if (done := referenced(side) - before) < least:
        raise Failed(f"{done} bytes went by reference, expected {least}")
    print(f"{side.name}: {done} bytes went by reference")


def run_arrays(net, workers, count, *whole):
    """arrays.py at both ends."""
    connections = max(workers, 1)
    server = net.server.spawn(net.python("arrays.py", "serve", "9430", str(connections), str(count), *whole))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    net.client.run(net.python("arrays.py", "send", net.target, "9430", str(workers), str(count), *whole), timeout=100)
    if server.wait(30).code != 0:
        raise Failed(f"the server's side\n{server.tail()}")


def exchange_arrays(net, workers, count, least, *whole):
    net.options.scheme = "emulated"
    before = {side: referenced(side) for side in net.sides if side.on_ferry()}
    run_arrays(net, workers, count, *whole)
    for side, then in before.items():
        least_referenced(side, then, int(max(workers, 1) * count * 64e6 * least))


@case(CLIENT_AND_SERVER, timeout=150)
def emulated_numpy(net):
    """A pair that exchanges arrays of 64 MB and writes to each right after it has been sent."""
    exchange_arrays(net, 0, 10 if net.options.full else 4, 0.4)


@case(CLIENT_AND_SERVER, timeout=150)
def emulated_numpy_whole(net):
    """The same with receives that wait for a whole array: its pages change places with those that it was received into."""
    count = 10 if net.options.full else 4
    exchange_arrays(net, 0, count, 0.4, "whole")
    for side in net.sides:
        if side.on_ferry():  # the server's process has no Ferry socket yet when it makes its first array
            least_swapped(side, int((count - (side is net.server)) * 40e6))


@case((FERRY_KERNEL, FERRY_FERRY), timeout=150)
def emulated_multiprocessing(net):
    """Four processes send arrays that their parent made before it forked; the server forks one for each connection."""
    exchange_arrays(net, 4, 3 if net.options.full else 1, 0)


@case((KERNEL_FERRY, FERRY_FERRY), timeout=100, needs=("redis-server", "redis-cli"))
def emulated_redis_64mb(net):
    """GET of values of 64 MB, by reference: the mappings of redis' jemalloc come from regions, whoever frees what lies in them."""
    net.options.scheme = "emulated"
    start_redis(net.server, net)
    value = os.urandom(1 << 20).hex()[: 1 << 20] * 64
    net.file("value", value)
    with open(os.path.join(net.folder, "value"), "rb") as data:
        if net.client.run(["redis-cli", "-h", net.target, "-x", "SET", "big"], stdin=data).out.strip() != "OK":
            raise Failed("SET of 64 MB")
    for _ in range(3):
        if net.client.run(["redis-cli", "-h", net.target, "--raw", "GET", "big"]).out.rstrip("\n") != value:
            raise Failed("GET gave other bytes than SET took")
    if net.server.ferryd:
        counters = net.server.stat()["server"]
        if counters["referenced_out"] < 3 * len(value) * 9 // 10:
            raise Failed(f"of three answers of 64 MB {counters['referenced_out']} bytes were referred to, {counters['forwarded_out']} forwarded")


@case((FERRY_KERNEL, KERNEL_FERRY, FERRY_FERRY), timeout=150, needs=("curl", "nginx"))
def emulated_curl(net):
    """A file of 1 GB (256 MB in the short tests) from nginx."""
    net.options.scheme = "emulated"
    start_nginx(net.server, net)
    wanted = random_file(net, "big", 1024 if net.options.full else 256)
    got = os.path.join(net.folder, "got")
    net.client.run(["curl", "-sS", "--fail", "-o", got, f"http://{net.target}/big"], timeout=100)
    if sha256_of(got) != wanted:
        raise Failed("other bytes arrived")


# Programs that fork a lot, or have many threads, as their own tests use them.
AS_THEY_ARE = {
    "socat": (tools.socat, 60, ("socat",)),
    "postgres": (databases.postgres, 120, ("psql", "pgbench")),
    "memcached": (databases.memcached, 60, ("memcached",)),
    "curl-many": (http.curl, 60, ("curl", "nginx")),
}


def register(name, function, timeout, needs):
    @case((FERRY_FERRY,), timeout=timeout, needs=needs, name=f"emulated-{name}")
    def test(net):
        net.options.scheme = "emulated"
        function(net)


for each, how in AS_THEY_ARE.items():
    register(each, *how)
for kind in ("forking", "threading", "subprocess", "passing"):
    @case((FERRY_FERRY,), timeout=100, name=f"emulated-python-{kind}")
    def emulated_python(net, kind=kind):
        net.options.scheme = "emulated"
        net.server.tier2_expected = kind == "subprocess"
        python.serve_and_connect(net, kind)
