"""Bug: after the upload a loop asked for the score until it came, which for a file that was refused is never.

Here nothing is sent yet and nothing is waited for: without --dry-run the command says so in one sentence and leaves no
file. Whoever builds the sending puts the test of its time limit here.
"""

import pytest

from chestfold import cli


def test_submit_without_dry_run_refuses_in_one_sentence(trained, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["submit", "exp100"])
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert "--dry-run" in printed.err
    assert not (trained.root / "submissions").exists()


def test_submit_with_dry_run_writes_a_file_and_ends(trained, capsys):
    cli.main(["submit", "exp100", "--dry-run"])
    assert "nothing was sent" in capsys.readouterr().out
    assert (trained.root / "submissions" / "001_exp100.csv").exists()
