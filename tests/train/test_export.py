import os

import pytest

from nnlib.errors import OutputError
from nnlib.io import check_writable
from nnlib.train.export import export_text


def test_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    check_writable(path)
    assert path.parent.is_dir()
    assert not list(path.parent.iterdir())
    assert export_text("naïve\n", path) == "naïve\n"
    assert path.read_bytes() == "naïve\n".encode()


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"a file stands where a folder is needed"):
        check_writable(tmp_path / "file" / "history.csv")
    with pytest.raises(OutputError, match="a folder"):
        check_writable(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError):
        check_writable(tmp_path / "history.csv")
