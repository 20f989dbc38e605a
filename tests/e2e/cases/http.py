"""curl, wget, nginx and wrk."""
import hashlib
import os
import re
import signal

from cases import CLIENT_AND_SERVER, EVERYWHERE, case
from harness import Failed, eventually


def start_nginx(side, net, workers=2):
    """nginx with one master and some workers, which run as another user; serves net.folder/www on port 80."""
    os.makedirs(os.path.join(net.folder, "www"), exist_ok=True)
    net.file("www/hello", b"hello ferry\n")
    configuration = net.file("nginx.conf", f"""
worker_processes {workers};
user www-data;
pid {net.folder}/nginx.pid;
error_log stderr;
daemon off;
events {{ worker_connections 2000; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000;
  server {{ listen 80; root {net.folder}/www; }}
}}
""")
    process = side.spawn(["/usr/sbin/nginx", "-c", configuration, "-p", net.folder])
    side.wait_listening(80, process=process)
    return process


def random_file(net, name, megabytes):
    """A file of random bytes under www; returns its SHA-256."""
    path = net.file("www/" + name)
    digest = hashlib.sha256()
    with open(path, "wb") as out:
        for _ in range(megabytes):
            block = os.urandom(1 << 20)
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@case(EVERYWHERE, needs=("curl", "nginx"))
def curl(net):
    start_nginx(net.server, net)
    wanted = random_file(net, "big", 64)
    got = os.path.join(net.folder, "got")
    net.client.run(["curl", "-sS", "--fail", "-o", got, f"http://{net.target}/big"])
    if sha256_of(got) != wanted:
        raise Failed("the download differs from the file")
    # Many requests over one connection, and the answers' order.
    urls = [f"http://{net.target}/hello"] * 50
    out = net.client.run(["curl", "-sS", "--fail", *urls]).out
    if out != "hello ferry\n" * 50:
        raise Failed(f"50 requests over one connection gave {len(out)} bytes")
    # Errors that only the stack can tell.
    refused = net.client.run(["curl", "-sS", f"http://{net.target}:81/"], check=False)
    if refused.code != 7:
        raise Failed(f"a closed port must be refused at once: {refused.code} {refused.err}")


case(CLIENT_AND_SERVER, needs=("curl", "nginx"), link="xdp", name="curl-xdp")(curl)


@case(needs=("wget", "nginx"))
def wget(net):
    start_nginx(net.server, net)
    wanted = random_file(net, "big", 32)
    got = os.path.join(net.folder, "got")
    net.client.run(["wget", "-q", "--tries=1", "--timeout=20", "-O", got, f"http://{net.target}/big"])
    if sha256_of(got) != wanted:
        raise Failed("the download differs from the file")


@case(EVERYWHERE, timeout=90, needs=("nginx", "wrk"))
def nginx(net):
    master = start_nginx(net.server, net)
    for headers in ([], ["-H", "Connection: close"]):
        out = net.client.run(["wrk", "-c", "64", "-t", "2", "-d", "3", *headers, f"http://{net.target}/hello"]).out
        requests = re.search(r"(\d+) requests in", out)
        if not requests or int(requests[1]) < 500 or "Socket errors" in out or "Non-2xx" in out:
            raise Failed(f"wrk {' '.join(headers)} says:\n{out}")
    # New workers take over the listener while old ones finish.
    os.kill(master.pid, signal.SIGHUP)
    out = net.client.run(["wrk", "-c", "16", "-t", "2", "-d", "2", f"http://{net.target}/hello"]).out
    if "Non-2xx" in out or not re.search(r"(\d+) requests in", out):
        raise Failed(f"wrk during a reload says:\n{out}")
    os.kill(master.pid, signal.SIGQUIT)
    eventually(lambda: not master.running(), 10, "nginx ends after SIGQUIT")
    if master.popen.returncode != 0:
        raise Failed(f"nginx ended with {master.popen.returncode}")
