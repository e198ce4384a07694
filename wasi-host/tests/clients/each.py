"""Runs tests: each is a function, and the last lines say how many passed."""

import sys
import traceback


def run(tests):
    failed = 0
    for test in tests:
        try:
            test()
            print(f"ok {test.__name__}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {test.__name__}", flush=True)
            traceback.print_exc()
    print(f"# pass {len(tests) - failed}\n# fail {failed}")
    sys.exit(failed > 0)
