"""SCTP by usrsctp: unmodified programs get sockets of a protocol that the kernel may not have. Ferry talks to Ferry; with the kernel where it
has SCTP."""
import socket

from cases import CLIENT_AND_SERVER, FERRY_FERRY, FERRY_KERNEL, SELF, case
from cases.hostile import attacked_by_client
from harness import Failed, Skipped, eventually

USRSCTP = ("sctp=usrsctp",)
STACKS = CLIENT_AND_SERVER + (SELF,)


def need_peer(net):
    if net.client.on_ferry() and net.server.on_ferry():
        return
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        raise Skipped("this kernel has no SCTP to be the peer") from None


@case(STACKS, timeout=120, servers=USRSCTP)
def python_messages(net):
    need_peer(net)
    server = net.server.spawn(net.python("messages.py", "serve", "7300"))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    net.client.run(net.python("messages.py", "connect", net.target, "7300"), timeout=90)


@case(STACKS, timeout=90, servers=USRSCTP, needs=("iperf3",))
def iperf3_sctp(net):
    need_peer(net)
    server = net.server.spawn(["iperf3", "-s", "-p", "5201", "--forceflush"])
    eventually(lambda: "listening" in server.output()[0], 15, "iperf3 listens")
    for words in ((), ("-R",), ("-P", "3"), ("-l", "1000")):
        out = net.client.run(["iperf3", "--sctp", "-c", net.target, "-p", "5201", "-n", "4M", *words], timeout=60).out
        if "receiver" not in out:
            raise Failed(f"iperf3 --sctp {' '.join(words)}: {out}")


@case((FERRY_FERRY,), timeout=90, servers=USRSCTP, relay=("--loss", "2", "--seed", "5"))
def python_messages_bad_path(net):
    python_messages(net)


case((FERRY_KERNEL,), timeout=100, servers=USRSCTP, name="hostile-client-with-sctp")(attacked_by_client)
