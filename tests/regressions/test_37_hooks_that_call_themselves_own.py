"""Bug: hooks.py that came with a run was taken for the project's own, because the run named its own copy of the file as
the place where the project has it: a stranger's code ran, and nobody was asked.

Here what lies in a folder of runs, of data or of submissions is nobody's own.
"""

import pytest
import strangers

from chestfold.core import hooks
from chestfold.core.errors import InputError
from chestfold.core.run_folder import RunFolder
from chestfold.integrations.follow.contents import FoldContents


@pytest.mark.parametrize("read", [lambda folder: folder.load_hooks(), lambda folder: FoldContents(folder.path)])
def test_they_do_not_run_unasked(trained, tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    strangers.code(trained)
    with pytest.raises(InputError, match="is code that came with the run.*add --trust-hooks"):
        read(RunFolder("exp100").fold(0))
    assert not (tmp_path / "ran").exists() and not hooks._loaded


@pytest.mark.parametrize("place", ["runs", "exps/results", "submissions", "input"])
def test_an_experiment_cannot_name_them_as_its_own(project, place):
    (project.root / place).mkdir(exist_ok=True)
    (project.root / place / "mine.py").write_text("LOSSES = {'mine': print}\n")
    with pytest.raises(InputError, match=f"hooks = '{place}/mine.py': a file .py inside the project is needed"):
        hooks.load_own(f"{place}/mine.py")
