"""Seccomp filters (seccomp(2)) for programs that confine themselves, or are started confined; x86-64."""
import ctypes
import errno
import struct

ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER_MODE = 38, 22, 2
MEMFD_CREATE = 319
# What a program needs that computes, reads and writes.
MODEST = {"read": 0, "write": 1, "close": 3, "poll": 7, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13,
          "rt_sigprocmask": 14, "rt_sigreturn": 15, "mremap": 25, "sendto": 44, "recvfrom": 45, "exit": 60, "futex": 202,
          "clock_gettime": 228, "exit_group": 231}


def install(default, numbers, action):
    """From now on `action` for these system calls, `default` for all others."""
    rules = [struct.pack("HBBI", LOAD, 0, 0, 0)]  # seccomp_data::nr
    for number in numbers:
        rules += [struct.pack("HBBI", EQUAL, 0, 1, number), struct.pack("HBBI", RETURN, 0, 0, action)]
    rules.append(struct.pack("HBBI", RETURN, 0, 0, default))
    code = ctypes.create_string_buffer(b"".join(rules))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER_MODE, ctypes.c_void_p(ctypes.addressof(program)), 0, 0)):
        if libc.prctl(*words) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def forbid(*numbers):
    """These fail with EPERM, here and in what is executed."""
    install(ALLOW, numbers, ERRNO | errno.EPERM)


def be_modest():
    """Anything else is death."""
    install(KILL_PROCESS, MODEST.values(), ALLOW)
