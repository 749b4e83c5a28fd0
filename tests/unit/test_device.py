"""--device and --workers: where a network is trained, not which; what is not there is one sentence."""

from pathlib import Path

import pytest
import torch
from conftest import tiny_experiment

from chestfold.cli import main
from chestfold.cli.experiment import read_command, run_command
from chestfold.core import checkpoint, device, distributed
from chestfold.core.errors import InputError
from chestfold.core.provenance import machine
from chestfold.data.loader import workers_for
from chestfold.models import create


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch):
    for name in (device.DEVICE, device.WORKERS, "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "")  # so that what a test sets is undone
        monkeypatch.delenv(name)


@pytest.fixture
def here(monkeypatch):
    """Call it with the number of GPUs, and whether this is a Mac."""

    def describe(gpus: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
        monkeypatch.setattr("torch.cuda.get_device_name", lambda which: f"GPU number {which.index}")
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)

    return describe


@pytest.mark.parametrize(
    ("gpus", "mps", "chosen", "used"),
    [
        (0, False, None, "cpu"),
        (0, True, None, "cpu"),
        (2, False, None, "cuda:0"),
        (2, False, "auto", "cuda:0"),
        (2, False, "cpu", "cpu"),
        (2, False, "cuda", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (0, True, "mps", "mps:0"),
    ],
)
def test_the_chosen_device_is_used(here, gpus, mps, chosen, used):
    here(gpus, mps)
    device.choose_device(chosen)
    found = distributed.device()
    assert (found.type, found.index or 0) == (used.partition(":")[0], int(used.partition(":")[2] or 0))


@pytest.mark.parametrize(
    ("gpus", "mps", "asked", "there"),
    [
        (0, False, "cuda", "auto, cpu"),
        (0, False, "mps", "auto, cpu"),
        (0, True, "cuda", "auto, cpu, mps"),
        (2, False, "cuda:2", "auto, cpu, cuda:0, cuda:1"),
        (2, False, "cuda:10", "auto, cpu, cuda:0, cuda:1"),
        (1, False, "gpu", "auto, cpu, cuda:0"),
        (1, False, "CUDA", "auto, cpu, cuda:0"),
        (1, False, "0", "auto, cpu, cuda:0"),
    ],
)
def test_a_device_that_is_not_there_is_one_sentence_with_those_that_are(here, gpus, mps, asked, there):
    here(gpus, mps)
    with pytest.raises(InputError, match=f"^--device {asked}: it is not there; there are {there}$"):
        device.choose_device(asked)
    assert device.chosen_device() == "auto"


def test_a_wrong_device_is_refused_before_anything_begins(project, capsys):
    with pytest.raises(InputError, match="--device cuda:7: it is not there"):
        run_command(read_command(tiny_experiment(), ["--device", "cuda:7"], Path("exp100.py")))
    assert not project.runs.exists()


@pytest.mark.parametrize("verb", [["predict", "exp100", "x.png"], ["explain", "exp100"]])
def test_predict_and_explain_take_it_too(trained, verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main.main([*verb, "--device", "cuda:7"])
    assert stop.value.code == 2
    assert "--device cuda:7: it is not there; there are auto, cpu" in capsys.readouterr().err


def test_processes_of_torchrun_have_their_own_gpus(here, monkeypatch):
    here(gpus=2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    device.choose_device("cuda")
    assert distributed.device() == torch.device("cuda:1")
    with pytest.raises(InputError, match="--device cuda:0: torchrun gives each process its own GPU"):
        device.choose_device("cuda:0")


def test_the_manifest_names_the_device_that_was_used(here):
    here(gpus=2)
    assert machine() == "GPU number 0"
    device.choose_device("cuda:1")
    assert machine() == "GPU number 1"
    device.choose_device("cpu")
    assert machine().endswith("thread")


def test_a_command_passes_its_device_on_to_the_processes_that_train(project, monkeypatch):
    seen = []
    monkeypatch.setattr("chestfold.train.jobs.run_jobs", lambda *_: seen.append(dict(device.os.environ)))
    argv = ["--device", "cpu", "--workers", "2", "--jobs", "2"]
    run_command(read_command(tiny_experiment(), argv, Path("exp100.py")))
    assert (seen[0][device.DEVICE], seen[0][device.WORKERS]) == ("cpu", "2")


# Workers


@pytest.mark.parametrize(("words", "count"), [([], None), (["--workers", "0"], 0), (["--workers", "3"], 3)])
def test_workers_are_counted_from_0(words, count):
    assert read_command(tiny_experiment(), words, Path("exp100.py")).workers == count


@pytest.mark.parametrize("wrong", ["-1", "two", "1.5", ""])
def test_a_number_of_workers_that_is_none_is_refused(wrong):
    with pytest.raises(InputError, match="--workers: invalid number value"):
        read_command(tiny_experiment(), [f"--workers={wrong}"], Path("exp100.py"))


@pytest.mark.parametrize(
    ("kind", "chosen", "count"), [("cpu", None, 0), ("cpu", 2, 2), ("cuda", 0, 0), ("cuda", 5, 5), ("mps", 1, 1)]
)
def test_so_many_processes_make_batches_as_were_asked_for(kind, chosen, count):
    device.choose_workers(chosen)
    assert workers_for(torch.device(kind)) == count
    device.choose_workers(None)
    assert workers_for(torch.device("cpu")) == 0


@pytest.mark.parametrize(("cores", "count"), [(None, 1), (1, 1), (5, 5), (64, 12)])
def test_beside_a_gpu_as_many_processes_make_batches_as_there_are_cores_but_at_most_12(cores, count, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert workers_for(torch.device("cuda")) == count


def test_the_weights_do_not_depend_on_the_number_of_workers(project):
    weights = []
    for name, count in (("exp100", "0"), ("exp101", "2")):
        argv = ["--fold", "0", "--workers", count, "--device", "cpu"]
        run_command(read_command(tiny_experiment(augment="plain", epochs=1), argv, Path(f"{name}.py")))
        weights.append(checkpoint.load_weights(project.runs / name / "fold0" / "last.ckpt")["module"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_the_precision_of_apple_is_fp32_unless_it_is_asked_for(here, monkeypatch):
    from chestfold.models import runner

    module = create(tiny_experiment(), 2).module
    monkeypatch.setattr(runner, "cpu_has_bf16", lambda: True)
    assert runner._dtype("auto", torch.device("mps"), module) is None
    assert runner._dtype("bf16", torch.device("mps"), module) is torch.bfloat16
