"""Lists of interfaces and addresses: Ferry's is in all of them, under the number and the name that the kernel has for the link."""
import json
import re

from cases import FERRY_FERRY, KERNEL_FERRY, LOOPBACK, case
from harness import Failed, eventually


@case((KERNEL_FERRY, FERRY_FERRY), needs=("ip",))
def interface_lists(net):
    listed = net.server.run(["ip", "-4", "address"]).out
    if len(re.findall(rf"inet {net.target}/24 .*\beth0\n", listed)) != 1:
        raise Failed(f"ip -4 address shows\n{listed}")
    for words, expected in ((["show", "dev", "eth0"], [net.target]), (["show", "dev", "lo"], ["127.0.0.1"])):
        shown = json.loads(net.server.run(["ip", "-4", "-json", "address", *words]).out)
        if [a["local"] for link in shown for a in link.get("addr_info", ())] != expected:
            raise Failed(f"ip address {' '.join(words)} shows {shown}")
    script = net.server.spawn(net.python("addresses.py", "eth0", net.target, "7300"))
    eventually(lambda: "ready" in script.output()[0] or not script.running(), 15, "the lists are right\n" + script.tail())
    net.client.run(["/usr/bin/python3", "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
                                              f".sendto(b'x', ('{net.target}', 7300))"])
    if script.wait(20).code != 0:
        raise Failed(f"the lists are wrong\n{script.tail()}")


@case((LOOPBACK,), needs=("ip",))
def interface_lists_with_loopback(net):
    """127.0.0.1 is the kernel's and Ferry's at once, and listed once."""
    out = net.client.run(["ip", "-4", "address"]).out
    if re.findall(r"inet (\S+)", out) not in (["127.0.0.1/8", f"{net.client.address}/24"],):
        raise Failed(f"ip -4 address shows\n{out}")
