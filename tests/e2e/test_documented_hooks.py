"""The files that the page about hooks shows, run as they stand there: trained, copied elsewhere, used there."""

import re
import shutil
from pathlib import Path
from types import ModuleType

import cv2
import pandas as pd
import pytest
from conftest import Project, draw_image, enter

from chestfold import Experiment, Predictor
from chestfold.cli import main
from chestfold.core import hooks
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.evaluate.results import find_result

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, JAPANESE = DOCS / "how-to" / "hooks.md", DOCS / "ja" / "how-to" / "hooks.md"


def blocks(page: Path) -> dict[str, list[str]]:
    """Language -> the blocks of code of a page."""
    found: dict[str, list[str]] = {}
    for language, text in re.findall(
        r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        found.setdefault(language, []).append(text)
    return found


@pytest.fixture
def forgotten(monkeypatch):
    """A process that has run no hooks, and does not keep those of this test."""
    monkeypatch.setattr(hooks, "_loaded", {})
    monkeypatch.setattr(hooks, "_trusted", False)
    tables = {name: dict(entries) for name, entries in hooks._registries.items()}
    yield
    for name, entries in tables.items():
        hooks._registries[name].clear()
        hooks._registries[name].update(entries)


@pytest.fixture
def documented(project, forgotten) -> Project:
    """A project with the files of the page, and images for its reader."""
    shown = blocks(PAGE)
    (project.root / "exps" / "my_hooks.py").write_text(shown["python"][0], encoding="utf-8")
    folder = project.input / "listed"
    folder.mkdir()
    (folder / "dataset.toml").write_text(shown["toml"][0], encoding="utf-8")
    rng, lines = generator("listed"), []
    for n in range(24):
        cv2.imwrite(str(folder / f"{n:02d}.png"), draw_image(rng, n % 2 == 1))
        lines.append(f"{n:02d}.png {'ill' if n % 2 else 'healthy'} p{n // 2}")
    (folder / "list.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return project


def documented_experiment() -> Experiment:
    module = ModuleType("exp900")
    exec(blocks(PAGE)["python"][1], module.__dict__)
    exp: Experiment = module.EXP
    return exp


def forget_code() -> None:
    """As in a new process."""
    for kept in hooks._loaded.values():
        for table, entries in kept.tables.items():
            for name in entries:
                hooks._registries.get(table, {}).pop(name, None)
    hooks._loaded.clear()


def test_the_page_runs_as_it_stands(documented, tmp_path, monkeypatch):
    main.main(["folds", "make", "listed", "--folds", "2", "--hooks", "exps/my_hooks.py"])
    exp = documented_experiment()
    documented.run(exp, "--epochs", "2", "--image-size", "32", "--batch-size", "8", name="exp900")
    run = documented.runs / "exp900"
    own = (documented.root / exp.hooks).read_bytes()
    assert (run / "hooks.py").read_bytes() == (run / "fold0" / "hooks.py").read_bytes() == own
    assert "youden" in find_result("exp900").record.scores.at_half
    table = pd.read_parquet(run / "oof.parquet")

    elsewhere = Project(tmp_path / "elsewhere")
    shutil.copytree(run, elsewhere.runs / "exp900")
    shutil.copytree(documented.input, elsewhere.input)
    shutil.copytree(documented.root / "folds", elsewhere.root / "folds")
    enter(monkeypatch, elsewhere)
    forget_code()
    with pytest.raises(InputError, match="is code that came with the run.*add --trust-hooks"):
        Predictor("exp900")
    predictor = Predictor("exp900", trust_hooks=True)
    images = [elsewhere.input / "listed" / name for name in table["id"][:2]]
    assert [predictor(image).label in ("healthy", "ill") for image in images] == [True, True]
    main.main(["explain", "exp900", "--trust-hooks", "--count", "2", "--fold", "0"])
    assert (elsewhere.runs / "exp900" / "explain" / "gradcam" / "report.html").exists()


def test_both_languages_show_the_same_code():
    english, japanese = blocks(PAGE), blocks(JAPANESE)
    assert english["python"] == japanese["python"] and english["toml"] == japanese["toml"]
