"""A stranger's loss, metric, augmentation and network, by one file of hooks: trained, copied, and used elsewhere."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Project, enter, make_project, make_tiny_folds, tiny_experiment
from kernel_inputs import kaggle_inputs
from test_kernel import require_equal

from chestfold import Predictor
from chestfold.cli import main
from chestfold.core import hooks
from chestfold.core.errors import InputError
from chestfold.evaluate import leaderboard, results
from chestfold.integrations.kaggle.kernel import write_kernel

CODE = '''
"""Focal loss, average precision, CLAHE, a network, and images between 0 and 1."""

from torch import nn


def focal_of_two(context):
    def loss(logits, targets):
        probs = logits.softmax(dim=1).clamp(1e-6, 1)
        return -(targets * (1 - probs) ** 2 * probs.log()).sum(dim=1).mean()

    return loss


def precision_of_ranks(e):
    return e.mean_of(lambda c: e.predicted.ranking(c).average_precision(e.of_known(c)))


def clahe(exp):
    import albumentations as A

    return [A.CLAHE(p=1)]


class TwoConvolutions(nn.Module):
    def __init__(self, num_classes, in_chans, drop_rate):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_chans, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()
        )
        self.classifier = nn.Linear(16, num_classes)

    def get_classifier(self):
        return self.classifier

    def forward(self, images):
        return self.classifier(self.body(images).mean(dim=(2, 3)))


LOSSES = {"focal_of_two": focal_of_two}
METRICS = {"precision_of_ranks": precision_of_ranks}
AUGMENTATIONS = {"clahe": clahe}
MODELS = {"two_convolutions": TwoConvolutions}
NORMALISATIONS = {"as_it_is": lambda images: images}
'''
EXP = tiny_experiment(
    hooks="exps/my_hooks.py",
    loss="focal_of_two",
    monitor="precision_of_ranks",
    augment="clahe",
    backbone="two_convolutions",
    normalise="as_it_is",
    precision="fp32",
    epochs=1,
)


@contextmanager
def another_process(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has not run any hooks yet."""
    patch.setattr(hooks, "_loaded", {})
    patch.setattr(hooks, "_trusted", False)
    yield
    for used in hooks._loaded.values():
        for table, entries in used.tables.items():
            for name in entries:
                hooks._registries[table].pop(name, None)


@pytest.fixture(scope="module")
def _at_home(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two runs with the stranger's hooks, on a data set whose metric is theirs."""
    made = make_project(tmp_path_factory.mktemp("hooks") / "project")
    (made.root / "exps" / "my_hooks.py").write_text(CODE)
    with (made.input / "tiny" / "dataset.toml").open("a") as file:
        file.write('metric = "precision_of_ranks"\n')
    with pytest.MonkeyPatch.context() as patch, another_process(patch):
        enter(patch, made)
        make_tiny_folds(2)
        made.run(EXP, name="exp100")
        made.run(EXP.but(seed=1), name="exp101")
    return made


@pytest.fixture
def elsewhere(_at_home: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Another project, to which runs, folds and images were copied, but not the stranger's code."""
    shutil.copytree(_at_home.root, tmp_path / "project", ignore=shutil.ignore_patterns("my_hooks.py"))
    made = Project(tmp_path / "project")
    enter(monkeypatch, made)
    with another_process(monkeypatch):
        yield made


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a refused command says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main.main(list(words))
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_code_that_came_with_a_run_does_not_run_unasked(elsewhere, capsys):
    image = str(elsewhere.input / "tiny" / "images" / "t001.png")
    for words in (["predict", "exp100", image], ["explain", "exp100"], ["ensemble", "exp100", "exp101", "--name", "b"]):
        sentence = said(capsys, *words)
        assert "hooks.py is code that came with the run" in sentence and "--trust-hooks" in sentence
    assert not hooks._loaded
    assert "precision_of_ranks" in str(leaderboard.rows_by_folds(results.all_results())), "the board runs nothing"


def test_elsewhere_a_run_predicts_explains_and_is_blended_with_its_hooks(elsewhere):
    path = elsewhere.input / "tiny" / "images" / "t001.png"
    predicted = Predictor("exp100", trust_hooks=True)(path).probabilities
    oof, _ = results.find_result("exp100").oof()
    assert set(predicted) == {"healthy", "ill"} and "t001" in set(oof["id"])
    main.main(["explain", "exp100", "--count", "4", "--trust-hooks"])
    main.main(["ensemble", "exp100", "exp101", "--name", "blend", "--method", "greedy", "--trust-hooks"])
    blend = results.find_result("blend")
    assert blend.record.metric == "precision_of_ranks" and "precision_of_ranks" in blend.record.scores.at_half
    assert (blend.folder / hooks.FILE).read_text() == CODE


def test_in_its_own_project_it_needs_no_asking(elsewhere):
    (elsewhere.root / "exps" / "my_hooks.py").write_text(CODE)
    Predictor("exp100")


def test_a_kernel_has_the_hooks_with_it(elsewhere, tmp_path):
    hooks.trust()
    (elsewhere.root / "exps" / "my_hooks.py").write_text(CODE)
    folder = write_kernel("exp100", "chest-contest", "me").folder
    inputs = kaggle_inputs(folder, elsewhere.input / "tiny", tmp_path / "kaggle")
    work = tmp_path / "work"
    work.mkdir()
    require_equal("exp100", folder, inputs, work)


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_text(CODE + "# changed\n")])
def test_hooks_that_are_gone_or_changed_are_refused(elsewhere, change):
    change(elsewhere.runs / "exp100" / "fold0" / hooks.FILE)
    with pytest.raises(InputError, match=r"fold0/hooks\.py"):
        Predictor("exp100", trust_hooks=True)


def test_a_changed_file_does_not_go_on_with_a_run(elsewhere):
    (elsewhere.root / "exps" / "my_hooks.py").write_text(CODE + "# changed\n")
    with pytest.raises(InputError, match="hooks_sha256"):
        elsewhere.run(EXP, name="exp100")


WRONG = {
    "def broken(:": "line 1: ",
    "import no_such_package": "No module named 'no_such_package'",
    "x = 1": "defines none of LOSSES",
    "LOSSES = [1]": "LOSSES is a dict",
    'LOSSES = {"ce": 1}': "LOSSES has 'ce' already",
}


@pytest.mark.parametrize(("code", "complaint"), WRONG.items(), ids=WRONG.values())
def test_hooks_that_cannot_be_used_are_one_sentence(elsewhere, code, complaint):
    (elsewhere.root / "exps" / "other_hooks.py").write_text(code)
    with pytest.raises(InputError) as refusal:
        elsewhere.run(tiny_experiment(hooks="exps/other_hooks.py"), name="exp102")
    assert complaint in str(refusal.value) and "other_hooks.py" in str(refusal.value)


@pytest.mark.parametrize("name", ["exps/none.py", "../outside.py", "/etc/passwd", "exps/my_hooks.txt"])
def test_hooks_are_a_file_of_the_project(elsewhere, name):
    (elsewhere.root.parent / "outside.py").write_text(CODE)
    with pytest.raises(InputError, match="hooks = "):
        elsewhere.run(tiny_experiment(hooks=name), name="exp102")
