"""lazy.py serve PORT | flood HOST PORT COUNT: COUNT connections on which one end sends until nothing goes any more, and the other never
reads. Prints "full" when no byte has gone for a second, and stays."""
import resource
import select
import socket
import sys
import time

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

if sys.argv[1] == "serve":
    kept = []
    with socket.create_server(("0.0.0.0", int(sys.argv[2])), backlog=1024) as listener:
        print("ready", flush=True)
        while True:
            kept.append(listener.accept()[0])
connections = [socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout=20) for _ in range(int(sys.argv[4]))]
poller, by_fd, moved = select.epoll(), {}, time.monotonic()
for each in connections:
    each.setblocking(False)
    by_fd[each.fileno()] = each
    poller.register(each.fileno(), select.EPOLLOUT)
while time.monotonic() - moved < 1:
    for fd, _ in poller.poll(0.2):
        try:
            if by_fd[fd].send(bytes(1 << 18)):
                moved = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            poller.unregister(fd)
print("full", flush=True)
time.sleep(60)
