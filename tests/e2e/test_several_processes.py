"""torchrun: two processes train one fold together, and the result is that of one process."""

import subprocess
import sys
from pathlib import Path

from chestfold.evaluate import results

SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from conftest import tiny_experiment
from chestfold import run
EXP = tiny_experiment(backbone="test_vit", image_size=64, batch_size=12, optimizer="sgd", lr=0.1, grad_accum_steps=2)
if __name__ == "__main__":
    run(EXP)
"""


def test_two_processes_train_one_fold_as_one_would(project):
    for name in ("exp200", "exp201"):
        (project.root / "exps" / f"{name}.py").write_text(SCRIPT.format(tests=str(Path(__file__).parents[1])))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    for command, name in (([sys.executable], "exp200"), (torchrun, "exp201")):
        words = [*command, str(project.root / "exps" / f"{name}.py")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("fold 0  epoch  1/2") == 1  # the first process alone speaks
    alone, together = (results.find_result(name).oof()[0].sort_values("id") for name in ("exp200", "exp201"))
    # test_vit has no batch statistics: only rounding differs, because gradients are summed in another order
    assert abs(alone["ill"].to_numpy() - together["ill"].to_numpy()).max() < 0.002
