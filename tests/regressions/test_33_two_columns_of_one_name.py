"""Bug: of two columns with one name the second was renamed and never looked at: half of the labels were not there.

Here such a table is refused.
"""

import pytest

from chestfold.core.errors import InputError
from chestfold.data.tables import open_table


@pytest.mark.parametrize("header", ["id,label,label", "id,label, label ", "id,id,label"])
def test_the_table_is_refused_and_the_name_is_said(tmp_path, header):
    (tmp_path / "train.csv").write_text(f"{header}\na,ill,healthy\n")
    with pytest.raises(InputError, match=r"train\.csv has 2 columns called '(label|id)'; rename or remove all but one"):
        open_table(tmp_path / "train.csv")
