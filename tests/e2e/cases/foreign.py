"""Foreign stacks behind the interface of protocol servers: unmodified programs on lwIP's TCP, and a client that means harm."""
import functools

from cases import CLIENT_AND_SERVER, FERRY_FERRY, FERRY_KERNEL, KERNEL_FERRY, case
from cases.bulk import BAD_PATH, BIG_TCP, many_connections, transfer_bad_path, transfer_clean
from cases.databases import redis
from cases.hostile import attacked_by_client
from cases.http import curl, nginx
from cases.load import iperf3_tcp

LWIP = ("tcp=lwip",)


def on_lwip(function, name, stacks=CLIENT_AND_SERVER, **more):
    case(stacks, name="foreign-tcp-" + name, servers=LWIP, **more)(function)


on_lwip(curl, "web", needs=("curl", "nginx"), timeout=120)
on_lwip(iperf3_tcp, "throughput", needs=("iperf3",), timeout=150)
on_lwip(redis, "database", stacks=(KERNEL_FERRY, FERRY_FERRY), needs=("redis-server", "redis-cli", "redis-benchmark"), timeout=120)
on_lwip(nginx, "requests", stacks=(KERNEL_FERRY, FERRY_KERNEL), needs=("nginx", "wrk"), timeout=120)
on_lwip(transfer_clean, "transfer", timeout=120)
on_lwip(transfer_clean, "big-tcp", stacks=(KERNEL_FERRY, FERRY_KERNEL), timeout=120, gso_max_size=BIG_TCP)
on_lwip(many_connections, "many-connections", stacks=(KERNEL_FERRY,), timeout=150)
on_lwip(transfer_bad_path, "bad-path", stacks=(FERRY_KERNEL,), relay=BAD_PATH, timeout=170)
on_lwip(functools.partial(attacked_by_client, neighbour=False), "hostile-client", stacks=(FERRY_KERNEL,), timeout=120)
