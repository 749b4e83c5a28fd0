"""Runs from elsewhere: no code of theirs runs, nothing outside their folder is read or written, no size is believed.

How long each takes, and how much memory: benchmarks/foreign_runs.py.
"""

import os

import pytest
from strangers import CASES, IMAGE, SECRET, TRACKED, fold, image, outside

from chestfold.cli import main
from chestfold.core import hooks
from chestfold.core.errors import InputError
from chestfold.core.run_folder import RunFolder
from chestfold.evaluate.results import find_result
from chestfold.integrations.follow.contents import FoldContents


@pytest.mark.parametrize("name", CASES)
def test_a_run_from_elsewhere_is_refused_in_one_sentence(trained, tmp_path, name, capsys, monkeypatch):
    case = CASES[name]
    case.plant(trained)
    monkeypatch.chdir(tmp_path)
    before = sorted(path for path in outside(trained).rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        main.main([str(image(trained)) if word == IMAGE else word for word in case.words])
    said = capsys.readouterr()
    assert stopped.value.code == 2, said.err
    shown = " ".join((said.err + said.out).split())
    assert case.complaint in shown and SECRET not in shown
    assert len(said.err.rstrip("\n").splitlines()) == 1, said.err
    assert sorted(path for path in outside(trained).rglob("*")) == before
    assert not os.path.lexists("ran") and not hooks._loaded


@pytest.mark.parametrize("name", TRACKED)
def test_a_tracker_reads_no_more_of_it(trained, name):
    TRACKED[name].plant(trained)
    with pytest.raises(InputError, match=TRACKED[name].complaint):
        FoldContents(fold(trained)).rows()
    assert not hooks._loaded


def test_links_within_a_run_and_a_run_that_is_a_link_are_read(trained, tmp_path):
    folder = trained.runs / "exp100"
    (folder / "fold0" / "best.ckpt").rename(folder / "kept.ckpt")
    (folder / "fold0" / "best.ckpt").symlink_to("../kept.ckpt")
    folder.rename(tmp_path / "large disk")
    folder.symlink_to(tmp_path / "large disk")
    assert RunFolder("exp100").fold(0).is_finished() and find_result("exp100").oof()
