"""What freed memory costs when it is asked for again, in a process of its own: one that is old has an odd heap."""

import json
import subprocess
import sys

import pytest

COUNT_PAGE_FAULTS = """
import json, resource
import numpy as np
from chestfold.core.memory import keep_freed

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 * 2**20, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = [page_faults() for _ in range(4)]
kept = keep_freed()
print(json.dumps([kept, given_back, [page_faults() for _ in range(6)]]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_used_again_without_asking_the_kernel() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT_PAGE_FAULTS], capture_output=True, text=True, check=True)
    kept, given_back, again = json.loads(done.stdout)
    if not kept:
        pytest.skip("not glibc")
    assert min(again[1:]) < 16 < min(given_back), (given_back, again)
