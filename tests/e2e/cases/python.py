"""Python programs: every common way to serve and to connect, and what the socket module promises."""
import os

from cases import CLIENT_AND_SERVER, EVERYWHERE, LOOPBACK, case
from harness import eventually

# Server kind → client kinds that suit it.
STREAMS = ("threading", "asyncio")
KINDS = {
    "asyncio": STREAMS, "threading": STREAMS, "forking": STREAMS, "select": STREAMS, "poll": STREAMS, "epoll": STREAMS,
    "epoll-edge": STREAMS, "makefile": ("makefile", "threading"), "subprocess": ("threading",), "passing": ("threading",),
    "sendfile": ("half-close",), "tls": ("tls",),
}


def serve_and_connect(net, kind):
    more = []
    if kind == "tls":
        certificate = os.path.join(net.folder, "certificate.pem")
        net.system(f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=ferry.test "
                   f"-keyout {certificate} -out {certificate}.crt && cat {certificate}.crt >> {certificate}")
        more = [certificate]
    server = net.server.spawn(net.python("servers.py", kind, "8000", *more))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, f"the {kind} server listens\n" + server.tail())
    for client in KINDS[kind]:
        net.client.run(net.python("echo_client.py", client, net.target, "8000", *[name + ".crt" for name in more]), timeout=60)


def register(kind):
    stacks = EVERYWHERE if kind in ("asyncio", "epoll", "forking") else CLIENT_AND_SERVER + (LOOPBACK,)

    @case(stacks, timeout=100, name=f"python-{kind}")
    def test(net):
        # Sockets that become standard input and output go to kernel mode: stdio's calls cannot be seen (docs/architecture.md).
        net.server.tier2_expected = kind == "subprocess"
        serve_and_connect(net, kind)


for each in KINDS:
    register(each)


@case(CLIENT_AND_SERVER + (LOOPBACK,), timeout=60)
def python_sockets(net):
    """The socket module's promises one by one: options, errors, flags, ancillary data."""
    server = net.server.spawn(net.python("promises.py", "serve", "8100"))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    net.client.run(net.python("promises.py", "connect", net.target, "8100"), timeout=40)
