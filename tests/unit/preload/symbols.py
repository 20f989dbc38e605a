#!/usr/bin/python3
"""What libferry.so shows and what it calls.

    symbols.py [--sources FOLDER] [--exports MAP] LIBFERRY ARCHIVE…

It must export the functions of src/preload/exports.map (or MAP) and nothing else, every FERRY_EXPORT must be in that list, and no object of
ours may call an interposed function by its name: that would go through libferry again, or through another preloaded library.
"""
import argparse
import glob
import os
import re
import subprocess
import sys

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "src")


def names(*words):
    out = subprocess.run(["nm", *words], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines() if line.split() and not line.endswith(":")}


def called_by_others(archive):
    """Undefined names of an archive, but for those of the hook of syscall(2), whose business is to call what is interposed."""
    out = subprocess.run(["nm", "-A", "-u", archive], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines() if line.split() and ":hooks_syscall.cc.o:" not in line}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sources", action="append", default=["preload"])
    parser.add_argument("--exports", default=os.path.join(SOURCES, "preload", "exports.map"))
    parser.add_argument("library")
    parser.add_argument("archives", nargs="*")
    options = parser.parse_args()
    library, archives = options.library, options.archives
    with open(options.exports) as listing:
        listed = set(re.findall(r"^\s+(\w+);$", listing.read(), re.MULTILINE))
    written = set()
    for path in (path for folder in options.sources for path in glob.glob(os.path.join(SOURCES, folder, "*.cc"))):
        with open(path) as source:
            written |= set(re.findall(r"^FERRY_EXPORT [^(]*?(\w+)\(", source.read(), re.MULTILINE))
    shown = names("-D", "--defined-only", library)
    used = set()
    for archive in archives:
        used |= called_by_others(archive) & listed
    problems = []
    for what, difference in (("exported but not listed", shown - listed), ("listed but not exported", listed - shown),
                             ("FERRY_EXPORT but not listed", written - listed), ("called by its interposed name", used)):
        if difference:
            problems.append(f"{what}: {' '.join(sorted(difference))}")
    if not listed or not shown:
        problems.append("nothing found to compare")
    print("\n".join(problems) or f"{len(shown)} functions, as listed; none is called by name")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
