"""Memory that is free again stays with its process."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, sys
from meltpoint.memory import keep_freed_memory

def use():
    parts = [b"x" * 2**23 for _ in range(3)]

if sys.argv[1:]:
    keep_freed_memory()
use(), use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(*how: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT, *how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_what_comes_next_gets_the_memory_of_what_was_before() -> None:
    assert new_pages("keep") * 10 < new_pages()
