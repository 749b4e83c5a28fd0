"""What freed memory costs when it is asked for again."""

import resource
import sys

import numpy as np
import pytest

from chestfold.core.memory import keep_freed


def page_faults_of(megabytes: int) -> int:
    """Pages that the kernel hands out while an array of this size is filled and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(megabytes * 2**20, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_used_again_without_asking_the_kernel() -> None:
    if not keep_freed():
        pytest.skip("not glibc")
    tries = [page_faults_of(64) for _ in range(6)]  # the kernel may take large pages apart at any time
    assert min(tries[1:]) < 16, tries
