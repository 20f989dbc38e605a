"""SCTP by usrsctp: unmodified programs get sockets of a protocol that the kernel may not have. Ferry talks to Ferry; with the kernel where it
has SCTP."""
import os
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


def keep_promises(net, script, port, timeout):
    need_peer(net)
    server = net.server.spawn(net.python(script, "serve", port))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    net.client.run(net.python(script, "connect", net.target, port), timeout=timeout)


@case(STACKS, timeout=120, servers=USRSCTP)
def python_messages(net):
    keep_promises(net, "messages.py", "7300", 90)


@case(STACKS, timeout=150, servers=USRSCTP)
def python_many_messages(net):
    keep_promises(net, "many_messages.py", "7301", 120)


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


@case((FERRY_FERRY,), timeout=150, servers=USRSCTP, relay=("--loss", "2", "--seed", "6"))
def python_many_messages_bad_path(net):
    python_many_messages(net)


def listens(net, process, port):
    """A program of lksctp-tools, which says nothing of its own, listens (of the kernel is known only that its socket is bound)."""
    if net.server.on_ferry():
        def there():
            return any(s["type"] == "sctp" and s["state"] == "LISTEN" and s["local"].endswith(f":{port}") for s in net.server.sockets())
    else:
        def there():
            return f" {port} " in net.server.run(["cat", "/proc/net/sctp/eps"]).out
    eventually(lambda: there() or not process.running(), 15, "the server listens\n" + process.tail())


@case(STACKS, timeout=120, servers=USRSCTP, needs=("sctp_test", "checksctp"))
def lksctp_test(net):
    """sctp_test's own cases, by sockets of both styles, in order and not."""
    need_peer(net)
    if "SCTP supported" not in net.client.run(["checksctp"]).err:
        raise Failed("checksctp says that there is no SCTP")
    for port, style in ((7310, ()), (7311, ("-T",))):
        server = net.server.spawn(["sctp_test", "-H", net.target, "-P", str(port), "-l", *style])
        listens(net, server, port)
        for words in (("-c", "0"), ("-c", "3", "-o", "1"), ("-c", "4", "-M", "5", "-o", "2"), ("-c", "6", "-t", "1", "-r", "9")):
            client = net.client.run(["sctp_test", "-H", net.client.address, "-P", str(port + 10), "-h", net.target, "-p", str(port),
                                     "-s", "-x", "2", *words, *style], timeout=60)
            if "***" in client.out or "Client: Sending packets.(2/2)" not in client.out:
                raise Failed(f"sctp_test {' '.join((*words, *style))}:\n{client.out[-3000:]}")
        if "***" in server.output()[0]:
            raise Failed(f"the server: {server.tail()}")


@case(STACKS, timeout=120, servers=USRSCTP, needs=("sctp_darn", "stdbuf"))
def lksctp_darn(net):
    """sctp_darn sends what it is told line by line, by sockets of both styles."""
    need_peer(net)
    for port, style in ((7330, ()), (7331, ("-t",))):
        server = net.server.spawn(["stdbuf", "-oL", "sctp_darn", "-H", net.target, "-P", str(port), "-l", *style])
        listens(net, server, port)
        # Its input stays open: at the end it would end the association, and the server stops reading once that is gone.
        source, sink = os.pipe()
        with open(source, "rb") as stdin, open(sink, "wb", buffering=0) as words:
            client = net.client.spawn(["sctp_darn", "-H", net.client.address, "-P", str(port + 10), "-h", net.target, "-p", str(port), "-s", *style],
                                      stdin=stdin)
            words.write(b"first line\nsecond line\n")
            eventually(lambda: "second line" in server.output()[0] or not server.running(), 20, "both lines come\n" + client.tail() + server.tail())
        client.stop()
        server.stop()


case((FERRY_KERNEL,), timeout=100, servers=USRSCTP, name="hostile-client-with-sctp")(attacked_by_client)
