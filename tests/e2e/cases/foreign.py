"""Foreign stacks behind the interface of protocol servers: unmodified programs on lwIP's TCP, and whoever means harm to them."""
from cases import CLIENT_AND_SERVER, FERRY_FERRY, FERRY_KERNEL, KERNEL_FERRY, case
from cases.bulk import BAD_PATH, many_connections, transfer_bad_path, transfer_clean
from cases.databases import redis
from cases.hostile import hostile_client, hostile_frames
from cases.http import curl, nginx
from cases.load import iperf3_tcp

LWIP = ("tcp=lwip",)


def on_lwip(function, stacks=CLIENT_AND_SERVER, **more):
    case(stacks, name=function.__name__.replace("_", "-") + "-on-lwip", servers=LWIP, **more)(function)


on_lwip(curl, needs=("curl", "nginx"), timeout=120)
on_lwip(iperf3_tcp, needs=("iperf3",), timeout=150)
on_lwip(redis, stacks=(KERNEL_FERRY, FERRY_FERRY), needs=("redis-server", "redis-cli", "redis-benchmark"), timeout=120)
on_lwip(nginx, stacks=(KERNEL_FERRY, FERRY_KERNEL), needs=("nginx", "wrk"), timeout=120)
on_lwip(transfer_clean, timeout=120)
on_lwip(many_connections, stacks=(KERNEL_FERRY,), timeout=150)
on_lwip(transfer_bad_path, stacks=(FERRY_KERNEL,), relay=BAD_PATH, timeout=170)
on_lwip(hostile_client, stacks=(FERRY_KERNEL,), timeout=120)
on_lwip(hostile_frames, stacks=(KERNEL_FERRY,), timeout=120)
