"""Runs checks, and says which are kept."""
import sys


def keep(checks):
    """Calls each of these functions, prints good or WRONG with the reason, and ends the program: 0 if all are kept."""
    broken = 0
    for each in checks:
        try:
            each()
            print(f"good  {each.__name__}", flush=True)
        except Exception as problem:  # pylint: disable=broad-except
            broken += 1
            line = problem.__traceback__.tb_next and problem.__traceback__.tb_next.tb_lineno
            print(f"WRONG {each.__name__}: {problem!r} line {line}", flush=True)
    sys.exit(broken != 0)
