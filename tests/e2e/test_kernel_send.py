"""`chestfold kernel --send` against a stand-in for Kaggle: each step is taken once, whatever happens between them."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import Project, enter, tiny_experiment
from kaggle_kernels import KaggleWithKernels, named
from kaggle_server import Competition

from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import read_json
from chestfold.integrations.kaggle import kernel_remote, kernel_send, upload
from chestfold.integrations.kaggle.kernel import Kernel, write_kernel
from chestfold.integrations.kaggle.kernel_send import send_kernel
from chestfold.integrations.kaggle.submission import SubmissionRecord, write_submission

CONTEST = "chest-contest"
WORDS = ("kernel", "exp100", "--competition", CONTEST, "--send")
MAKING = ("CreateDataset", "SaveKernel", "CreateCodeSubmission")


@pytest.fixture
def kind_of_kaggle():
    return KaggleWithKernels


@pytest.fixture
def contest(kaggle) -> Competition:
    kaggle.competitions[CONTEST] = Competition(statuses=["PENDING", "COMPLETE"])
    return kaggle.competitions[CONTEST]


@pytest.fixture(scope="module")
def _written(_trained_once, tmp_path_factory) -> tuple[Project, Kernel]:
    made = Project(tmp_path_factory.mktemp("sent") / "project")
    shutil.copytree(_trained_once.root, made.root)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        return made, write_kernel("exp100", CONTEST, "someone")


@pytest.fixture
def kernel(_written, contest, monkeypatch) -> Kernel:
    """Of three folds, and never sent."""
    project, kernel = _written
    enter(monkeypatch, project)
    for path in [*upload.submissions_dir().glob("*-kernel.*"), kernel.folder / kernel_send.UPLOADS]:
        path.unlink(missing_ok=True)
    return kernel


def record() -> SubmissionRecord:
    (path,) = upload.submissions_dir().glob("*-kernel.json")
    return SubmissionRecord.from_json(path)


def test_one_command_pushes_waits_submits_and_keeps_the_score(kaggle, contest, trained, chestfold):
    kaggle.seconds_for |= {"dataset": 300.0, "kernel": 3600.0}
    own = write_submission("exp100")[0]
    kaggle.plan.answers = own.read_bytes()
    code, shown = chestfold(*WORDS, "-m", "first try")
    assert code == 0, shown
    for said in (
        "to the private data set someone/chestfold-exp100-weights: ",
        "data set someone/chestfold-exp100-weights is ready, version 1",
        "pushed version 1 of kernel someone/chestfold-exp100",
        "they are those of chestfold submit, byte for byte",
        'goes version 1 of someone/chestfold-exp100 as "[chestfold ',
        "COMPLETE: public 0.93125",
        "scored is what version 1 of someone/chestfold-exp100 predicts there",
    ):
        assert said in shown, said
    (pushed,) = kaggle.kernels
    assert pushed["isPrivate"] and pushed["enableGpu"] and not pushed["enableInternet"]
    assert pushed["datasetDataSources"] == ["someone/chestfold-exp100-weights"]
    (entry,) = contest.entries
    assert entry["kernel"] == ["someone", "chestfold-exp100", 1] and entry["fileName"] == "submission.csv"
    assert entry["description"] == f"[chestfold {record().sha256[:12]}] first try"
    folder = own.parent
    assert (folder / "002_exp100-kernel.csv").read_bytes() == own.read_bytes()
    ledger = pd.read_csv(folder / "ledger.csv").set_index("file")
    row = ledger.loc["002_exp100-kernel.csv"]
    assert [row["result"], row["status"], row["public"]] == ["exp100", "COMPLETE", 0.93125]
    assert row["proof"] == "kernel version 1" and row["cv_auc_low"] <= row["cv_auc"] <= row["cv_auc_high"]
    (weights,) = kaggle.datasets["someone/chestfold-exp100-weights"]
    sent = {path.name: path.read_bytes() for path in (folder / "kernel_exp100" / "weights").iterdir()}
    sent.pop("dataset-metadata.json")
    assert weights.content == sent
    asked = len(kaggle.asked)
    code, shown = chestfold(*WORDS)
    assert code == 0 and "nothing is sent again" in shown and kaggle.made() == (1, 1, 1)
    assert not {"StartBlobUpload", *MAKING} & set(kaggle.asked[asked:])
    write_submission("exp101")
    assert (folder / "003_exp101.csv").exists(), "a kernel's number is taken"


class Killed(BaseException):
    """SIGKILL: nothing of this process runs any more, and what it has asked for may be done or not."""


def kill_at(monkeypatch, number: int, after: bool = False) -> list[str]:
    """From now on the command dies at its request of this number, before it or when it was carried out."""
    asked: list[str] = []
    original = kernel_remote.ask

    def ask(source, part, method, *words, **fields):
        asked.append(method)
        if len(asked) == number and not after:
            raise Killed
        try:
            return original(source, part, method, *words, **fields)
        finally:
            if len(asked) == number:
                raise Killed

    monkeypatch.setattr(kernel_remote, "ask", ask)
    return asked


def forget(kaggle, contest, kernel: Kernel) -> None:
    """Nothing was ever sent."""
    for made in (kaggle.datasets, kaggle.notebooks, contest.entries):
        made.clear()
    for path in [*upload.submissions_dir().glob("*-kernel.*"), kernel.folder / kernel_send.UPLOADS]:
        path.unlink(missing_ok=True)


def test_a_command_that_was_killed_anywhere_goes_on_and_makes_nothing_twice(kaggle, contest, kernel, monkeypatch):
    kaggle.seconds_for["listing"] = 40.0
    with monkeypatch.context() as patch:
        requests = kill_at(patch, 0)
        send_kernel(kernel, "x", 60)
    assert set(requests) >= {*MAKING, "GetDatasetStatus", "GetKernelSessionStatus", "ListKernelSessionOutput"}
    for number, method in enumerate(requests, start=1):
        if requests[:number].count(method) > 1:
            continue  # one file is as another, and one look
        for after in (False, True):
            forget(kaggle, contest, kernel)
            contest.statuses = ["PENDING", "COMPLETE"]
            with monkeypatch.context() as patch, pytest.raises(Killed):
                kill_at(patch, number, after)
                send_kernel(kernel, "x", 60)
            assert send_kernel(kernel, "x", 60)[1].status == "COMPLETE"
            assert kaggle.made() == (1, 1, 1), f"killed {'after' if after else 'before'} {method}, request {number}"


@pytest.mark.parametrize("step", ["dataset", "kernel"])
@pytest.mark.parametrize("write", range(1, 4))
def test_a_command_that_was_killed_at_its_record_goes_on(kaggle, contest, kernel, monkeypatch, step, write):
    kaggle.seconds_for["listing"] = 60.0
    original, writes = kernel_send._Sending.write, []

    def dying(self, **fields):
        writes.extend([step] if step in fields else [])
        if writes.count(step) == write:
            raise Killed
        original(self, **fields)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(kernel_send._Sending, "write", dying)
        send_kernel(kernel, "x", 60)
    assert send_kernel(kernel, "x", 60)[1].status == "COMPLETE" and kaggle.made() == (1, 1, 1)


@pytest.mark.parametrize("lost", MAKING)
@pytest.mark.parametrize("listing", [0.0, 20.0, 120.0])
def test_a_lost_answer_is_looked_for_and_nothing_is_sent_twice(kaggle, contest, kernel, lost, listing):
    kaggle.lost = [lost]
    kaggle.seconds_for["listing"] = contest.late = listing
    try:
        send_kernel(kernel, "x", 60)
    except ChestfoldError as error:
        assert "\n" not in str(error)
        assert send_kernel(kernel, "x", 60)[1].status == "COMPLETE"
    assert kaggle.made() == (1, 1, 1)


@pytest.mark.parametrize("method", MAKING)
def test_a_request_that_never_arrived_is_made_again(kaggle, contest, kernel, method):
    kaggle.denied = {method: (503, "Service unavailable")}
    with pytest.raises(ChestfoldError, match="Kaggle has trouble of its own"):
        send_kernel(kernel, "x", 60)
    kaggle.denied = {}
    assert send_kernel(kernel, "x", 60)[1].status == "COMPLETE" and kaggle.made() == (1, 1, 1)


def test_an_upload_that_broke_off_resumes_in_the_middle_of_a_file(kaggle, contest, kernel):
    kaggle.broken_at = 500
    with pytest.raises(ChestfoldError, match=r"the upload to data set .* broke off in .*; run the same command again"):
        send_kernel(kernel, "x", 60)
    assert [len(blob["data"]) for blob in kaggle.blobs.values()] == [500]
    again = write_kernel("exp100", CONTEST, "someone")
    assert again == kernel
    send_kernel(again, "x", 60)
    files = [path for path in kernel.weights.iterdir() if path.name != "dataset-metadata.json"]
    assert len(kaggle.blobs) == len(files), "a file was begun twice"
    (version,) = kaggle.datasets["someone/chestfold-exp100-weights"]
    assert version.content == {path.name: path.read_bytes() for path in files}


def fail_kernel(kaggle) -> None:
    kaggle.plan.status = "ERROR"
    lines = ["line 1", "Traceback", "  in x", "RuntimeError: CUDA out of memory", "the end"]
    kaggle.plan.log = lambda script: "\n".join([*named(script), *lines])


def fail_at_once(kaggle) -> None:
    kaggle.plan.status, kaggle.plan.message, kaggle.plan.log = "ERROR", "Docker image not found", lambda script: ""


def cancel(kaggle) -> None:
    kaggle.plan.status = "CANCEL_ACKNOWLEDGED"


def write_nothing(kaggle) -> None:
    kaggle.plan.answers = None


FAILURES = {
    "failed": (
        fail_kernel,
        r"version 1 of kernel .* failed: line 1 / Traceback / in x / RuntimeError: CUDA.*-kernel.log",
    ),
    "at once": (fail_at_once, r"version 1 of kernel .* failed: Docker image not found; its log is .*-kernel.log"),
    "cancelled": (cancel, r"version 1 of kernel .* was cancelled: "),
    "no answers": (write_nothing, r"ran to its end and wrote no submission.csv; look at https://www.kaggle.com/code/"),
}


@pytest.mark.parametrize("harm", FAILURES)
def test_a_kernel_that_failed_is_one_sentence_and_is_run_again_only_by_request(kaggle, contest, kernel, harm):
    fail, sentence = FAILURES[harm]
    plan = kaggle.plan
    before = vars(plan).copy()
    fail(kaggle)
    for _ in range(2):
        with pytest.raises(InputError, match=sentence) as refusal:
            send_kernel(kernel, "x", 60)
        assert "\n" not in str(refusal.value) and kaggle.made() == (1, 1, 0)
    vars(plan).update(before)
    if harm == "no answers":
        return
    fail(kaggle)
    with pytest.raises(InputError, match=sentence.replace("version 1", "version 2")):
        send_kernel(kernel, "x", 60, again=True)
    vars(plan).update(before)
    kaggle.notebooks["someone/chestfold-exp100"].append(kaggle.notebooks["someone/chestfold-exp100"][0])
    assert send_kernel(kernel, "x", 60)[1].status == "COMPLETE"
    assert contest.entries[0]["kernel"][2] == 3, "it was run again on its page: that version goes on"


NO_NOTEBOOKS = "This competition does not accept submissions from notebooks."
QUOTA = "Maximum weekly GPU quota of 30.00 hours reached."
REFUSALS = {
    "CreateDataset": (400, "Storage limit reached", "Kaggle refused the request for data set .*Storage limit reached"),
    "SaveKernel": (400, QUOTA, "Maximum weekly GPU quota of 30.00 hours reached"),
    "CreateCodeSubmission": (
        400,
        NO_NOTEBOOKS,
        f"{CONTEST} takes files and no notebooks: {NO_NOTEBOOKS[:-1]}; send one",
    ),
}


@pytest.mark.parametrize("method", REFUSALS)
def test_what_kaggle_refuses_is_said_in_its_words_and_can_be_tried_again(kaggle, contest, kernel, method):
    code, words, sentence = REFUSALS[method]
    kaggle.denied = {method: (code, words)}
    with pytest.raises(InputError, match=sentence) as refusal:
        send_kernel(kernel, "x", 60)
    assert "\n" not in str(refusal.value)
    kaggle.denied = {}
    assert send_kernel(kernel, "x", 60, again=True)[1].status == "COMPLETE" and kaggle.made() == (1, 1, 1)


def test_a_version_that_is_gone_is_pushed_anew(kaggle, contest, kernel):
    kaggle.denied = {"CreateCodeSubmission": (404, "Kernel version not found")}
    with pytest.raises(InputError, match="Kaggle finds no version 1 of kernel someone/chestfold-exp100"):
        send_kernel(kernel, "x", 60)
    kaggle.denied = {}
    kaggle.notebooks.clear()
    assert send_kernel(kernel, "x", 60)[1].status == "COMPLETE" and kaggle.made() == (1, 1, 1)


@pytest.mark.parametrize("part", ["dataset", "kernel"])
def test_when_the_time_is_up_the_same_command_goes_on_waiting(kaggle, contest, kernel, part):
    kaggle.seconds_for[part] = 1200.0
    named_part = {"dataset": "data set .*-weights is still BLOBS_RECEIVED", "kernel": "kernel .* is still RUNNING"}
    with pytest.raises(InputError, match=f"{named_part[part]} after 15 minutes; run the same command again"):
        send_kernel(kernel, "x", 15)
    assert send_kernel(kernel, "x", 15)[1].status == "COMPLETE" and kaggle.made() == (1, 1, 1)


def test_a_competition_that_lets_nobody_in_is_told_before_anything_is_uploaded(kaggle, contest, kernel):
    contest.refusals["ListSubmissions"] = (403, "You must accept this competition's rules before you can submit.")
    with pytest.raises(InputError, match="the rules of competition chest-contest are not accepted"):
        send_kernel(kernel, "x", 60)
    assert not kaggle.blobs


def test_the_end_of_an_older_version_is_not_that_of_the_new_one(kaggle, contest, trained):
    """Other weights: another version of each, and of none of them a second."""
    assert send_kernel(write_kernel("exp100", CONTEST, "someone"), "x", 60)[1].status == "COMPLETE"
    trained.run(tiny_experiment(seed=3), "--overwrite", name="exp100")
    kaggle.plan.lags = True
    kaggle.seconds_for |= {"dataset": 60.0, "kernel": 600.0}
    contest.statuses = ["COMPLETE"]
    start = kaggle.seconds
    path, _ = send_kernel(write_kernel("exp100", CONTEST, "someone"), "x", 60)
    assert kaggle.seconds - start >= 660 and kaggle.made() == (2, 2, 2)
    assert path.name == "002_exp100-kernel.csv" and contest.entries[0]["kernel"][2] == 2


def test_a_record_that_was_lost_is_found_again_at_kaggle(kaggle, contest, kernel):
    """On another machine: what Kaggle has is known by its content."""
    send_kernel(kernel, "x", 60)
    for path in upload.submissions_dir().glob("*-kernel.*"):
        path.unlink()
    assert send_kernel(kernel, "x", 60)[1].status == "COMPLETE" and kaggle.made() == (1, 1, 1)
    contest.entries.clear()
    for path in upload.submissions_dir().glob("*-kernel.*"):
        path.unlink()
    assert send_kernel(kernel, "x", 60)[1].status == "COMPLETE" and kaggle.made() == (1, 1, 1)


def test_partial_runs_are_refused_as_by_submit(trained, contest, chestfold):
    record = trained.runs / "exp101" / "scores.json"
    about = read_json(record)
    about["folds"]["trained"] = [0, 1]
    record.write_text(pd.Series(about).to_json())
    Path(trained.runs / "exp101" / "fold2" / "manifest.json").unlink()
    code, shown = chestfold("kernel", "exp101", "--competition", CONTEST)
    assert code == 2 and re.search("exp101 holds folds 0, 1 of 3; train the others, or add --partial", shown)
