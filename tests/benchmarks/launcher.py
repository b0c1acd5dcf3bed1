"""Start a command and say what it used: ``python -I -S launcher.py RESULT TIMEOUT WORDS...``.

A process of its own, and a small one: what Linux gives as a child's peak memory is never below that of the process that
started it. So nothing but a little of the standard library is imported here, by path and not as a part of a package.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time

_EVERY = 0.05  # seconds between two looks at the memory; a peak in the last of them can be missed
_PAGE = os.sysconf("SC_PAGE_SIZE")


def descendants(root: int) -> list[int]:
    """A process and everything below it that still has its parent."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            stat = _text(f"/proc/{entry.name}/stat")
            if stat:
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def launch(words: list[str], timeout: float) -> dict[str, object]:
    """Run a command to its end, or end it and everything that it started when its time is up."""
    began = time.monotonic()
    pid = os.posix_spawnp(words[0], words, os.environ, setsid=True)
    ended: list[tuple[float, int, float, int]] = []  # when, status, cpu, peak in KiB

    def reap() -> None:
        _, status, usage = os.wait4(pid, 0)
        ended.append((time.monotonic(), status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss))

    waiting = threading.Thread(target=reap)
    waiting.start()
    names: dict[int, str] = {}
    peaks: dict[int, int] = {}
    together, timed_out, seen = 0, False, [pid]
    for look in range(10**9):
        if look % 4 == 0:
            seen = descendants(pid)
        now = 0
        for one in seen:
            text = _text(f"/proc/{one}/status")
            if "VmHWM:" in text:
                peaks[one] = max(peaks.get(one, 0), int(text.partition("VmHWM:")[2].split()[0]))
                names[one] = _text(f"/proc/{one}/cmdline").replace("\0", " ").strip()
                now += int(_text(f"/proc/{one}/statm", "0 0").split()[1]) * _PAGE // 1024
        together = max(together, now)
        waiting.join(_EVERY)
        if not waiting.is_alive():
            break
        if time.monotonic() - began > timeout:
            timed_out = True
            ending = descendants(pid)
            for one in reversed(ending):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
            waiting.join()
            while any(map(is_alive, ending)):
                time.sleep(_EVERY)
            break
    when, status, cpu, peak = ended[0]
    return {
        "seconds": when - began, "cpu": cpu, "peak": peak, "together": together, "timed_out": timed_out,
        "status": os.waitstatus_to_exitcode(status), "processes": [[names[one], peaks[one], one == pid] for one in peaks],
    }  # fmt: skip


def is_alive(pid: int) -> bool:
    """Whether a process is there and is not one that has ended and waits to be noticed."""
    stat = _text(f"/proc/{pid}/stat")
    return bool(stat) and stat.rpartition(")")[2].split()[0] not in "ZX"


def _text(path: str, otherwise: str = "") -> str:
    """A file of /proc; its process may have ended meanwhile."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123  (pathlib is megabytes)
            return file.read() or otherwise
    except OSError:
        return otherwise


if __name__ == "__main__":
    found = launch(sys.argv[3:], float(sys.argv[2]))
    with open(sys.argv[1], "w", encoding="utf-8") as result:  # noqa: PTH123
        json.dump(found, result)
