"""Wrong input: every mistake gets one clear sentence on standard error and a failing exit status, and nothing is left running."""
import os
import shutil
import subprocess

from cases import FERRY_FERRY, FERRY_KERNEL, case
from harness import Failed, Process, eventually


def expect_failure(words, status, *fragments, timeout=20, **how):
    """Runs words; wants an exit status (a number, or None for any but 0 and a signal's) and all fragments on standard error."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, **how)
    except subprocess.TimeoutExpired:
        raise Failed(f"neither refused nor ended: {' '.join(words)}") from None
    right = done.returncode == status if status is not None else done.returncode > 0
    missing = [text for text in fragments if text.lower() not in done.stderr.lower()]
    if not right or missing:
        raise Failed(f"{' '.join(words)}: exit status {done.returncode} (wanted {status or 'not 0'}), "
                     f"not told: {missing}\n--- stderr\n{done.stderr}--- stdout\n{done.stdout[:500]}")
    if len(done.stderr.strip().splitlines()) > 3:
        raise Failed(f"{' '.join(words)}: one sentence is wanted, not\n{done.stderr}")
    return done


@case((FERRY_KERNEL,), timeout=60)
def wrong_ferryd(net):
    """ferryd's own mistakes: options, file, interface, address, permission, socket path."""
    side = net.client
    ferryd = ["ip", "netns", "exec", side.netns, net.options.program("ferryd")]
    spare = ["--socket", os.path.join(net.folder, "spare.sock")]
    good_address = ["--address", "10.9.0.7/24"]

    expect_failure([*ferryd, *spare, "--link", "packet:nosuch0", *good_address], None, "nosuch0")
    expect_failure([*ferryd, *spare, "--link", "carrier:eth0", *good_address], None, "carrier")
    for bad in ("10.9.0.300/24", "10.9.0.7/33", "ten", "224.0.0.1/24", "255.255.255.255/24"):
        expect_failure([*ferryd, *spare, "--link", "packet:eth0", "--address", bad], 2, bad.split("/")[0])
    expect_failure([*ferryd, *spare, "--link", "packet:eth0"], 2, "address")
    expect_failure([*ferryd, *spare, "--link", "packet:eth0", *good_address, "--gateway", "nowhere"], 2, "nowhere")
    expect_failure([*ferryd, *spare, "--link", "packet:eth0", *good_address, "--mac", "zz:00"], 2, "zz:00")
    expect_failure([*ferryd, "--no-such-option"], 2, "no-such-option")

    expect_failure([*ferryd, "--config", "/nonexistent.toml"], 2, "/nonexistent.toml")
    expect_failure([*ferryd, "--config", net.file("bad.toml", "link = [[[")], 2, "bad.toml:1")
    expect_failure([*ferryd, "--config", net.file("unknown.toml", 'lnik = "packet:eth0"\n')], 2, "lnik")
    expect_failure([*ferryd, "--config", net.file("type.toml", "address = 5\n")], 2, "address")

    # Somebody on the link has the address already.
    expect_failure([*ferryd, *spare, "--link", "packet:eth0", "--address", f"{net.target}/24"], None, net.target, timeout=30)

    # Another ferryd serves there; a stale socket is no obstacle (below).
    expect_failure([*ferryd, "--socket", side.socket, "--link", "packet:eth0", *good_address], None, side.socket)
    occupied = net.file("occupied")
    expect_failure([*ferryd, "--socket", occupied, "--link", "packet:eth0", *good_address], None, occupied)
    expect_failure([*ferryd, "--socket", "/nonexistent/folder/s", "--link", "packet:eth0", *good_address], None, "/nonexistent")

    as_nobody = ["ip", "netns", "exec", side.netns, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    open_folder = os.path.join(net.folder, "open")
    os.mkdir(open_folder)
    os.chmod(open_folder, 0o777)
    expect_failure([*as_nobody, net.options.program("ferryd"), "--socket", open_folder + "/s", "--link", "packet:eth0", *good_address],
                   None, "eth0", "permi")


@case((FERRY_KERNEL,), timeout=60)
def stale_socket(net):
    """ferryd killed (-9) leaves its socket path; the next one takes it over."""
    side = net.client
    side.watch.stop()
    side.ferryd.stop(9)
    if not os.path.exists(side.socket):
        raise Failed("kill -9 cannot have removed the socket path")
    expect_failure(side.command(["/usr/bin/env"]), 125, "not running", "not started")
    side.start_ferryd("eth0")
    net.client.run(["/usr/bin/env"])
    # A clean stop removes it, quickly.
    side.watch.stop()
    side.ferryd.stop()
    if side.ferryd.popen.returncode != 0 or os.path.exists(side.socket):
        raise Failed(f"after SIGTERM: exit status {side.ferryd.popen.returncode}, path exists: {os.path.exists(side.socket)}")
    side.start_ferryd("eth0")
    side.kernel_use_expected = True  # this ferryd may not have received a frame


@case((FERRY_KERNEL,), timeout=60)
def wrong_ferry(net):
    """The ferry command's mistakes."""
    ferry = net.options.program("ferry")
    for words in ([], ["nosuch"], ["run"], ["run", "--scheme", "magic", "--", "true"], ["run", "--nosuch", "--", "true"], ["ss", "--nosuch"],
                  ["stat", "--nosuch"], ["ping"], ["ping", "not-an-address"], ["capture"], ["capture", "-w"], ["relay", "one"],
                  ["relay", "a", "b", "--loss", "200"], ["capture", "-w", "/dev/null", "--filter", "((", "--socket", net.client.socket],
                  ["replay"], ["version", "surplus"]):
        expect_failure([ferry, *words], 2, "ferry: ")
    for command in ("run", "ss", "stat", "ping", "capture", "relay", "replay", "demo", "bench", "version"):
        done = subprocess.run([ferry, command, "--help"], capture_output=True, text=True, timeout=20)
        if done.returncode != 0 or "Usage" not in done.stdout:
            raise Failed(f"ferry {command} --help: {done.returncode} {done.stderr}")
    nobody = ["--socket", os.path.join(net.folder, "nobody-listens")]
    for command in (["ss"], ["stat"], ["ping", "10.9.0.2"], ["capture", "-w", "/dev/null"]):
        expect_failure([ferry, *command, *nobody], 1, "not running")

    mark = os.path.join(net.folder, "mark")
    expect_failure([ferry, "run", *nobody, "--", "/usr/bin/touch", mark], 125, "not running", "not started")
    if os.path.exists(mark):
        raise Failed("the program was started although no ferryd runs")
    expect_failure([ferry, "relay", "nosuch1", "nosuch2"], 1, "nosuch")
    expect_failure([ferry, "replay", "/nonexistent"], 1, "/nonexistent")
    expect_failure(net.client.command(["no-such-program"]), 127, "no-such-program")
    if net.client.run(["sh", "-c", "exit 7"], check=False).code != 7:
        raise Failed("the program's exit status is lost")
    net.client.kernel_use_expected = True


@case((FERRY_KERNEL,), timeout=60, needs=("g++",))
def static_and_privileged_programs(net):
    """Programs into which libferry cannot be loaded are refused aloud by `ferry run`, and never run on the kernel unseen."""
    net.file("connect.c", """
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
int main(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9)};
  inet_pton(AF_INET, "10.9.0.2", &a.sin_addr);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  connect(s, (struct sockaddr *)&a, sizeof a);
  puts("ran");
  return 0;
}
""")
    net.file("note.s", '.section .note.go.buildid, "a", @note\n.long 4, 4, 4\n.asciz "Go"\n.byte 0\n.ascii "abcd"\n'
             '.section .note.GNU-stack, ""\n')
    net.system("gcc -static -o static connect.c && gcc -o setuid connect.c && cp setuid capable && gcc -o golike connect.c note.s && "
               "chmod 4755 setuid && setcap cap_net_bind_service=ep capable", cwd=net.folder)
    for name, word in (("static", "static"), ("setuid", "set-user-id"), ("capable", "capabilities"),
                       ("golike", "go program")):
        done = expect_failure(net.client.command([os.path.join(net.folder, name)], user="nobody", group="nogroup"), 126, word, "not started")
        if "ran" in done.stdout:
            raise Failed(f"the {name} program ran")
    net.client.kernel_use_expected = True


@case((FERRY_KERNEL,), timeout=60, no_sanitizer="it loads libferry by itself")
def libraries_that_cannot_be_loaded(net):
    """The dynamic linker would leave out a libferry that it cannot load, and the program would run on the kernel's stack."""
    ferry = os.path.realpath(net.options.program("ferry"))
    built = os.path.join(os.path.dirname(ferry), "..", "lib", "libferry.so")
    for folder in ("bin", "lib"):
        os.mkdir(os.path.join(net.folder, folder))
    copy, library = (os.path.join(net.folder, *name) for name in (("bin", "ferry"), ("lib", "libferry.so")))
    shutil.copy(ferry, copy)
    with open(built, "rb") as file:
        whole = file.read()

    def run_with(content, *fragments, mount=""):
        with open(library, "wb") as file:
            file.write(content)
        words = f"{mount} exec {copy} run --socket {net.client.socket} -- echo ran"
        if fragments:
            done = expect_failure(["unshare", "-m", "sh", "-c", words], 125, "cannot be loaded", *fragments)
        else:
            done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, timeout=20)
        if ("ran" in done.stdout) == bool(fragments):
            raise Failed(f"{words}: {done.stdout} {done.stderr}")

    run_with(whole)
    run_with(b"", "no shared library")
    run_with(whole[:-5000], "missing")
    run_with(whole, "noexec", mount=f"mount --bind {net.folder}/lib {net.folder}/lib && mount -o remount,bind,noexec {net.folder}/lib &&")
    net.client.kernel_use_expected = True


@case((FERRY_KERNEL,), timeout=60, no_sanitizer="it loads libferry by itself")
def version_mismatch(net):
    """A ferryd of another version is recognised by the ferry command and by libferry itself."""
    path = os.path.join(net.folder, "other.sock")
    other = Process(net.python("other_version.py", path), net.log_path("other"))
    try:
        eventually(lambda: os.path.exists(path), 10, "the other version listens")
        ferry = net.options.program("ferry")
        expect_failure([ferry, "run", "--socket", path, "--", "true"], 125, "version", "not started")
        expect_failure([ferry, "stat", "--socket", path], 1, "version")
        library = os.path.realpath(os.path.join(os.path.dirname(ferry), "..", "lib", "libferry.so"))
        environment = {**os.environ, "LD_PRELOAD": library, "FERRY_SOCKET": path}
        done = subprocess.run(["ip", "netns", "exec", net.client.netns, "/usr/bin/python3", "-c",
                               "import socket; socket.create_connection(('10.9.0.2', 9))"],
                              env=environment, capture_output=True, text=True, timeout=20)
        if done.returncode == 0 or "version" not in done.stderr:
            raise Failed(f"libferry and another version of ferryd: {done.returncode} {done.stderr}")
    finally:
        other.stop()
    net.client.kernel_use_expected = True


@case((FERRY_FERRY,), timeout=60)
def out_of_shared_memory(net):
    """A client that reads nothing cannot make ferryd keep more than its share; the others go on."""
    server = net.server.spawn(net.python("connections.py", "serve", "9100"))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    lazy = net.server.spawn(net.python("lazy.py", "serve", "9101"))
    eventually(lambda: "ready" in lazy.output()[0] or not lazy.running(), 15, "the lazy server listens\n" + lazy.tail())
    greedy = net.client.spawn(net.python("lazy.py", "flood", net.target, "9101", "400"))
    eventually(lambda: "full" in greedy.output()[0] or not greedy.running(), 30, "all connections are full\n" + greedy.tail())
    net.client.run(net.python("connections.py", "open", net.target, "9100", "200", "50"), timeout=30)
    greedy.stop()
    lazy.stop()
