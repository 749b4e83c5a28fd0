"""torchrun: two processes train one fold together, and the result is that of one process."""

import subprocess
import sys
from pathlib import Path

from conftest import tiny_experiment

from chestfold.evaluate import results

SETTINGS = dict(backbone="test_vit", image_size=64, batch_size=12, optimizer="sgd", lr=0.1, grad_accum_steps=2)
SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from conftest import tiny_experiment
from chestfold import run
EXP = tiny_experiment(**{SETTINGS})
if __name__ == "__main__":
    run(EXP)
"""


def test_two_processes_train_one_fold_as_one_would(project):
    project.run(tiny_experiment(**SETTINGS), "--fold", "0", name="exp200")
    script = project.root / "exps" / "exp201.py"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run([*torchrun, str(script), "--fold", "0"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("fold 0  epoch  1/2") == 1  # the first process alone prints
    alone, together = (results.find_result(name).oof()[0].sort_values("id") for name in ("exp200", "exp201"))
    # test_vit has no batch statistics: only rounding differs, because gradients are summed in another order
    assert abs(alone["ill"].to_numpy() - together["ill"].to_numpy()).max() < 0.002
