"""socat, nc, dig against dnsmasq, and name lookups of programs."""
import hashlib
import os

from cases import CLIENT_AND_SERVER, LOOPBACK, case
from cases.http import random_file, sha256_of, start_nginx
from harness import Failed, eventually


@case(CLIENT_AND_SERVER + (LOOPBACK,), needs=("socat",))
def socat(net):
    wanted = random_file(net, "big", 8)
    big, got = os.path.join(net.folder, "www/big"), os.path.join(net.folder, "got")
    # A forking echo server, and bytes back and forth at once.
    echo = net.server.spawn(["socat", "TCP-LISTEN:7000,fork,reuseaddr", "EXEC:cat"])
    net.server.wait_listening(7000, process=echo)
    with open(big, "rb") as data:
        out = net.client.spawn(["socat", "-t", "20", "-", f"TCP:{net.target}:7000"], stdin=data)
        out.wait(40)
    with open(out.log + ".out", "rb") as echoed:
        if hashlib.sha256(echoed.read()).hexdigest() != wanted:
            raise Failed("the echo differs")
    sink = net.server.spawn(["socat", "-u", "TCP-LISTEN:7001,reuseaddr", f"CREATE:{got}"])
    net.server.wait_listening(7001, process=sink)
    net.client.run(["socat", "-u", f"FILE:{big}", f"TCP:{net.target}:7001"])
    sink.wait(20)
    if sha256_of(got) != wanted:
        raise Failed("the file differs")
    # Datagrams keep their bounds.
    udp = net.server.spawn(["socat", "UDP-RECVFROM:7002,fork", "EXEC:rev"])
    net.server.wait_listening(7002, kind="udp", process=udp)
    word = net.file("word", "nottub\n")
    with open(word, "rb") as data:
        answer = net.client.run(["socat", "-t", "3", "-", f"UDP:{net.target}:7002"], stdin=data, timeout=20).out
    if answer != "button\n":
        raise Failed(f"the datagram's answer: {answer!r}")


@case(CLIENT_AND_SERVER, needs=("nc",))
def nc(net):
    wanted = random_file(net, "big", 8)
    big = os.path.join(net.folder, "www/big")
    server = net.server.spawn(["nc", "-l", "-p", "7100"])
    net.server.wait_listening(7100, process=server)
    with open(big, "rb") as data:
        net.client.run(["nc", "-N", net.target, "7100"], stdin=data)
    server.wait(20)
    if sha256_of(server.log + ".out") != wanted:
        raise Failed("the received file differs")
    if net.client.run(["nc", "-z", "-w", "3", net.target, "7100"], check=False).code == 0:
        raise Failed("a port that nobody listens on is not open")
    udp = net.server.spawn(["nc", "-u", "-l", "-p", "7101"])
    net.server.wait_listening(7101, kind="udp", process=udp)
    with open(net.file("word", "one datagram\n"), "rb") as data:
        net.client.run(["nc", "-u", "-w", "1", net.target, "7101"], stdin=data, timeout=20)
    eventually(lambda: udp.output()[0] == "one datagram\n", 5, "the datagram arrives")


def start_dnsmasq(side, net):
    side.v6_wildcards_expected = True  # dnsmasq makes its IPv6 sockets IPV6_V6ONLY
    process = side.spawn(["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root",
                          "--port=53", "--log-queries", "--log-facility=-", "--pid-file=", f"--host-record=www.test,{net.target}",
                          "--txt-record=long.test," + ",".join("x" * 250 for _ in range(12)), "--local=/test/",
                          "--edns-packet-max=4096"])
    side.wait_listening(53, kind="udp", process=process)
    return process


@case(needs=("dig", "dnsmasq"))
def dig(net):
    start_dnsmasq(net.server, net)

    def ask(*words):
        return net.client.run(["dig", f"@{net.target}", "+time=3", "+tries=2", *words], timeout=30).out

    for transport in ("+notcp", "+tcp"):
        if ask("+short", transport, "www.test").strip() != net.target:
            raise Failed(f"dig {transport} www.test")
    if "NXDOMAIN" not in ask("nobody.test"):
        raise Failed("a name that does not exist")
    # 3 KB: more than one packet over UDP; by TCP if the answer is cut.
    if ask("+short", "TXT", "+bufsize=4096", "long.test").count("x") != 3000:
        raise Failed("a long answer")
    reverse = ask("+short", "-x", net.target)
    if reverse.strip() != "www.test.":
        raise Failed(f"the reverse lookup gave {reverse!r}")


@case((CLIENT_AND_SERVER[0], CLIENT_AND_SERVER[2]), needs=("curl", "dnsmasq", "nginx", "getent"))
def names(net):
    """Programs find a DNS server that only Ferry reaches, by resolv.conf."""
    start_dnsmasq(net.server, net)
    start_nginx(net.server, net)
    net.use_names(net.client, net.target)
    if net.client.run(["curl", "-sS", "--fail", "http://www.test/hello"]).out != "hello ferry\n":
        raise Failed("curl by name")
    lookup = "import socket; print(socket.gethostbyname('www.test'), socket.getaddrinfo('www.test', 80)[0][4])"
    out = net.client.run(["/usr/bin/python3", "-c", lookup]).out
    if out != f"{net.target} ('{net.target}', 80)\n":
        raise Failed(f"Python's lookups gave {out!r}")
    unknown = net.client.run(["curl", "-sS", "http://nobody.test/"], check=False)
    if unknown.code != 6:
        raise Failed(f"an unknown name must be told as such: {unknown.code} {unknown.err}")
