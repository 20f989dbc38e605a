"""Programs with a libferry that has sanitizers: what they need in their environment, and what was reported.

AddressSanitizer's own library stands behind libferry and before libc: what a program calls is libferry's, and libferry's memory comes from
the sanitizer. Its reports go to files, for programs like to close their standard error; UndefinedBehaviorSanitizer beside it, and assertions,
know standard error only.
"""
import glob
import os
import re
import subprocess

REPORT = re.compile(r"ERROR: \w+Sanitizer|runtime error: |Assertion '.*' failed")


def behind_libferry(folder):
    """What LD_PRELOAD has behind the libferry of `folder`: what starts first (sanitizer_first.c), and AddressSanitizer as it is linked with."""
    first = os.path.join(os.path.abspath(folder), "..", "lib", "libsanitizer_first.so")
    linked = subprocess.run(["ldd", first], capture_output=True, text=True, check=True).stdout
    return first + ":" + re.search(r"\b(libasan\.so\.\d+)", linked)[1]


class Reports:
    """A folder of reports, into which programs of every user may write."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o1777)

    def settings(self):
        """NAME=VALUE of the variables with which programs report there."""
        path = os.path.join(self.folder, "report")
        # Leaks: programs that exit without freeing are none of our business. Null: they may ask for more memory than there is.
        return [f"ASAN_OPTIONS=log_path={path}:log_exe_name=1:detect_leaks=0:verify_asan_link_order=0:allocator_may_return_null=1",
                "UBSAN_OPTIONS=print_stacktrace=1"]

    def texts(self):
        texts = []
        for path in sorted(glob.glob(os.path.join(self.folder, "report*"))):
            with open(path, errors="replace") as report:
                text = report.read()
            if REPORT.search(text):  # else a warning
                texts.append(text)
        return texts

    def take(self):
        """The texts, once."""
        texts = self.texts()
        for path in glob.glob(os.path.join(self.folder, "report*")):
            os.remove(path)
        return texts
