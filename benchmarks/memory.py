"""Peak memory of a child process that does one thing."""

import subprocess
import sys

_REPORT = """
import sys
if sys.platform == "linux":
    # ru_maxrss would be that of the process it was forked from, where that is larger.
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
    print(int(peak) * 1024)
else:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(code: str) -> float:
    """Most memory that a new Python process held while it ran `code`, MB."""
    script = code + _REPORT
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603
    if ended.returncode:
        raise RuntimeError(f"the child process failed: {ended.stderr[-2000:]}")
    return int(ended.stdout.split()[-1]) / 1e6
