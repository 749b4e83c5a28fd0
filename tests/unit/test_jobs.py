"""How many folds are trained at once, and with how many threads each."""

import os
import runpy
from multiprocessing import forkserver

import pytest
from conftest import tiny_experiment

from chestfold.core import device
from chestfold.core.config import Request
from chestfold.core.files import read_json
from chestfold.core.run_folder import RunFolder
from chestfold.train import run, threads
from chestfold.train.jobs import describe_plan, plan, run_jobs
from chestfold.train.threads import jobs_that_fit, usable_cores

GIB = 2**30


@pytest.fixture
def machine(monkeypatch):
    """Call it with cores, memory in GiB and whether there is a GPU."""

    def describe(cores: int, memory: float = 1000, gpu: bool = False) -> None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        monkeypatch.setattr(threads, "available_memory", lambda: memory * GIB)
        monkeypatch.delenv("CHESTFOLD_DEVICE", raising=False)
        monkeypatch.setattr(device.os.path, "exists", lambda path: gpu and path in device.GPU_FILES)
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)

    return describe


EXP = tiny_experiment()


@pytest.mark.parametrize(("cores", "folds", "fit"), [(1, 5, 1), (2, 5, 2), (8, 5, 5), (8, 1, 1)])
def test_a_core_trains_a_fold(machine, cores, folds, fit):
    machine(cores)
    assert jobs_that_fit(EXP, folds) == fit


def test_a_gpu_trains_one_fold_at_a_time(machine):
    machine(cores=16, gpu=True)
    assert jobs_that_fit(EXP, 5) == 1


@pytest.mark.parametrize(("name", "fit"), [("auto", 1), ("cpu", 5), ("cuda", 1), ("cuda:1", 1)])
def test_folds_go_side_by_side_on_the_cpu_of_a_machine_with_gpus(machine, monkeypatch, name, fit):
    machine(cores=16, gpu=True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    device.choose_device(name)
    assert jobs_that_fit(EXP, 5) == fit


@pytest.mark.parametrize(("memory", "fit"), [(0.5, 1), (2, 1), (4, 2), (100, 8)])
def test_memory_limits_the_folds_but_one_is_always_trained(machine, memory, fit):
    machine(cores=8, memory=memory)
    assert jobs_that_fit(EXP, 8) == fit


def test_larger_images_and_batches_take_more_memory(machine):
    machine(cores=8, memory=16)
    assert jobs_that_fit(EXP, 8) == 8
    assert jobs_that_fit(tiny_experiment(image_size=224, batch_size=32), 8) < 8
    assert jobs_that_fit(tiny_experiment(image_size=448, batch_size=64), 8) == 1


@pytest.mark.parametrize(
    ("folds", "given", "planned"),
    [
        (5, (0, 0), (4, 1)),
        (2, (0, 0), (2, 2)),
        (1, (0, 0), (1, 4)),
        (5, (2, 0), (2, 2)),
        (5, (1, 0), (1, 4)),
        (5, (9, 0), (5, 1)),  # no more than there are folds
        (5, (0, 3), (4, 3)),
        (5, (2, 1), (2, 1)),
        (1, (4, 2), (1, 2)),
        (0, (0, 0), (1, 4)),  # all finished: they are collected in this process
    ],
)
def test_what_is_not_given_is_chosen_for_the_cores(machine, folds, given, planned):
    machine(cores=4)
    assert plan(EXP, folds, *given) == planned


def test_the_processes_of_torchrun_share_one_fold(machine, monkeypatch):
    machine(cores=4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert plan(EXP, 5, 3, 0)[0] == 1


@pytest.mark.parametrize(("limit", "cores"), [("1", 1), ("2", 2), ("9", 4), ("0", 4), ("", 4), ("many", 4), ("²", 4)])
def test_omp_num_threads_lowers_the_number_of_cores(machine, monkeypatch, limit, cores):
    machine(cores=4)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("folds", "planned", "text"),
    [
        (5, (4, 1), "5 folds, 4 at once with 1 CPU thread each (--jobs, --threads)"),
        (5, (2, 2), "5 folds, 2 at once with 2 CPU threads each (--jobs, --threads)"),
        (5, (1, 4), "5 folds, one after the other, with 4 CPU threads (--jobs, --threads)"),
    ],
)
def test_the_plan_is_said_in_a_line(folds, planned, text):
    assert describe_plan(folds, *planned) == text


def test_a_resumed_fold_keeps_the_number_of_threads_in_its_config(project, monkeypatch):
    """The number decides the last bits of a sum, and so the bytes of the weights."""
    used: list[int] = []
    monkeypatch.setattr(run, "set_threads", used.append)
    request = Request("exp100", tiny_experiment(epochs=1, max_steps=1), folds=(0,))
    run.run_request(request, threads=2)
    folder = project.runs / "exp100" / "fold0"
    assert read_json(folder / "config.json")["threads"] == 2
    (folder / "manifest.json").unlink()
    run.run_request(request, threads=1)
    assert used == [2, 2] and read_json(folder / "config.json")["threads"] == 2


@pytest.mark.slow
def test_processes_work_in_the_project_of_the_moment_not_in_that_of_their_server(project, monkeypatch, tmp_path):
    monkeypatch.setenv("CHESTFOLD_PROJECT", str(tmp_path / "elsewhere"))
    forkserver.ensure_running()
    monkeypatch.setenv("CHESTFOLD_PROJECT", str(project.root))
    request = Request("exp100", tiny_experiment(epochs=1), (0, 1), overwrite=False, parent="", changed={})
    assert run_jobs(request, 2, 1, ("wandb", "disabled")).record.folds.trained == (0, 1)
    assert (project.runs / "exp100" / "fold1" / "manifest.json").exists()


def test_one_process_passes_over_a_locked_fold_too(project, capsys):
    locked = RunFolder("exp100").fold(0)
    with locked.lock():
        project.run(tiny_experiment(epochs=1), "--fold", "0", "1")
    printed = capsys.readouterr().out
    assert "fold 0 is passed over: another process" in printed and f"is working in {locked.path}" in printed
    assert not locked.manifest_path.exists() and RunFolder("exp100").fold(1).manifest_path.exists()


def test_a_script_that_trains_when_it_is_imported_is_refused_in_one_sentence(tmp_path, capsys):
    """The processes that train folds import it by this name."""
    script = tmp_path / "exp001.py"
    script.write_text("from chestfold import Experiment, run\n\nEXP = Experiment(data='tiny')\nrun(EXP)\n")
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(script), run_name="__mp_main__")
    assert stopped.value.code == 2
    assert f'{script}: run(EXP) stands outside of `if __name__ == "__main__":`' in capsys.readouterr().err
