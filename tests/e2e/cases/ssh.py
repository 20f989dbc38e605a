"""OpenSSH: login, remote commands, scp of 100 MB; sshd forks, executes itself again and drops privileges."""
import os
import pwd

from cases import CLIENT_AND_SERVER, LOOPBACK, case
from cases.http import random_file, sha256_of
from harness import Failed


class Sshd:
    def __init__(self, side, net):
        self.net = net
        keys = os.path.join(net.folder, "keys")
        os.makedirs(keys, mode=0o755)
        net.system(f"ssh-keygen -q -t ed25519 -N '' -f {keys}/host && ssh-keygen -q -t ed25519 -N '' -f {keys}/user")
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd's empty folder for its unprivileged child
        self.keys = keys
        configuration = net.file("sshd_config", f"""
Port 2222
ListenAddress 0.0.0.0
HostKey {keys}/host
AuthorizedKeysFile {keys}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
UseDNS no
MaxStartups 100
Subsystem sftp internal-sftp
""")
        self.process = side.spawn(["/usr/sbin/sshd", "-D", "-e", "-f", configuration])
        side.wait_listening(2222, process=self.process)

    def options(self):
        return ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-F", "none", "-i", f"{self.keys}/user"]


@case(CLIENT_AND_SERVER + (LOOPBACK,), timeout=120, needs=("ssh", "sshd", "scp"))
def ssh(net):
    sshd = Sshd(net.server, net)
    net.server.tier2_expected = True  # sshd makes each connection the standard input and output of a new sshd
    user = pwd.getpwuid(os.geteuid()).pw_name

    def remote(*words, **how):
        return net.client.run(["ssh", *sshd.options(), "-p", "2222", f"{user}@{net.target}", *words], **how)

    if remote("echo", "$((6 * 7))").out != "42\n":
        raise Failed("the remote shell's output")
    if remote("exit 23", check=False).code != 23:
        raise Failed("the remote command's exit status")
    if remote("seq", "1", "200000").out != "".join(f"{n}\n" for n in range(1, 200001)):
        raise Failed("1.3 MB of output")
    # A terminal, and input that ends.
    if "ready" not in remote("-tt", "echo ready").out:
        raise Failed("a login with a terminal")
    wanted = random_file(net, "big", 100 if net.options.full else 50)
    big, there, back = (os.path.join(net.folder, name) for name in ("www/big", "there", "back"))
    copy = ["scp", "-q", *sshd.options(), "-P", "2222"]
    net.client.run([*copy, big, f"{user}@{net.target}:{there}"])
    net.client.run([*copy, f"{user}@{net.target}:{there}", back])
    if sha256_of(there) != wanted or sha256_of(back) != wanted:
        raise Failed("a copied file differs")
