import gzip
import hashlib
import io
from pathlib import Path

import pytest

from nnlib.data import cifar10, fashion_mnist, mnist
from nnlib.data.download import Published, find_files
from nnlib.errors import DataError, DataNotFoundError, NnlibError, OutputError


class TestWhereFilesAreFound:
    def test_root_is_the_folder_itself_or_holds_it(self, small_mnist):
        assert len(mnist(small_mnist, download=False)[0]) == 7
        assert len(mnist(str(small_mnist.parent), download=False)[0]) == 7

    def test_environment_variable(self, small_mnist, no_network, monkeypatch):
        monkeypatch.setenv("NNLIB_DATA", str(small_mnist.parent))
        assert len(mnist()[0]) == 7
        assert not no_network

    def test_cache(self, small_mnist, no_network, tmp_path):
        cache = tmp_path / "cache" / "nnlib"
        cache.mkdir(parents=True)
        small_mnist.rename(cache / "mnist")
        assert len(mnist()[0]) == 7
        assert not no_network

    def test_unpacked_files(self, small_mnist):
        for path in sorted(small_mnist.glob("*.gz")):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
        assert len(mnist(small_mnist, download=False)[1]) == 3

    def test_root_beats_the_environment(self, small_mnist, no_network, monkeypatch, tmp_path):
        monkeypatch.setenv("NNLIB_DATA", str(small_mnist.parent))
        with pytest.raises(DataNotFoundError):
            mnist(_empty(tmp_path), download=False)


def _empty(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


class TestNotFound:
    @pytest.mark.parametrize("load", [mnist, fashion_mnist, cifar10])
    def test_offline_says_what_where_and_how(self, load, no_network, tmp_path):
        with pytest.raises(DataNotFoundError) as caught:
            load()
        text = str(caught.value)
        assert isinstance(caught.value, DataError | FileNotFoundError)
        assert no_network  # it was tried
        assert all(url in text for url in no_network)
        assert "network is unreachable" in text
        assert str(tmp_path / "cache" / "nnlib") in text
        assert "NNLIB_DATA" in text
        assert "root=" in text

    def test_every_mirror_is_tried(self, no_network):
        with pytest.raises(DataNotFoundError):
            mnist()
        assert len({url.split("/")[2] for url in no_network}) == 2

    def test_download_refused(self, no_network, tmp_path):
        with pytest.raises(DataNotFoundError, match=r"(?s)train-images-idx3-ubyte.*download=False"):
            mnist(_empty(tmp_path), download=False)
        assert not no_network

    def test_misspelt_root(self, no_network, tmp_path):
        with pytest.raises(DataNotFoundError, match=r"root must be an existing folder.*nowhere"):
            mnist(tmp_path / "nowhere")
        assert not no_network

    def test_misspelt_environment_variable(self, no_network, monkeypatch):
        monkeypatch.setenv("NNLIB_DATA", "/nowhere/at/all")
        with pytest.raises(DataNotFoundError, match="NNLIB_DATA must be an existing folder"):
            mnist()

    def test_one_file_missing_is_not_found(self, small_mnist, no_network):
        (small_mnist / "t10k-labels-idx1-ubyte.gz").unlink()
        with pytest.raises(DataNotFoundError):
            mnist(small_mnist, download=False)


CONTENT = b"content " * 20_000
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def published(mirrors=("http://a.invalid/", "http://b.invalid/")):
    folders = ("little", "another name")
    return Published("Little", folders, (("file.bin",),), {"file.bin": HASH}, mirrors)


@pytest.fixture
def network(monkeypatch):
    """A network that answers from a dict: address → content."""
    import requests

    pages = {}

    class Response:
        def __init__(self, content):
            self.headers = {"content-length": str(len(content))}
            self._content = io.BytesIO(content)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def raise_for_status(self):
            pass

        def iter_content(self, chunk_size):
            return iter(lambda: self._content.read(chunk_size), b"")

        def close(self):
            pass

    def get(url, **options):
        if url not in pages:
            raise requests.ConnectionError("no route")
        return Response(pages[url])

    monkeypatch.setattr(requests, "get", get)
    return pages


class TestDownload:
    def test_goes_to_its_folder_in_root_and_is_found_there_later(self, network, tmp_path):
        network["http://a.invalid/file.bin"] = CONTENT
        paths = find_files(published(), tmp_path, download=True)
        assert paths == (tmp_path / "little" / "file.bin",)
        assert paths[0].read_bytes() == CONTENT
        network.clear()
        assert find_files(published(), tmp_path, download=True) == paths

    def test_second_mirror(self, network, tmp_path):
        network["http://b.invalid/file.bin"] = CONTENT
        assert find_files(published(), tmp_path, download=True)[0].read_bytes() == CONTENT

    def test_another_content_is_refused_and_removed(self, network, tmp_path):
        network["http://a.invalid/file.bin"] = CONTENT[:-1]
        with pytest.raises(DataNotFoundError, match="hash"):
            find_files(published(), tmp_path, download=True)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    def test_shows_progress_on_stderr(self, network, tmp_path, capsys):
        network["http://a.invalid/file.bin"] = CONTENT
        find_files(published(), tmp_path, download=True)
        shown = capsys.readouterr()
        assert "Little: file.bin" in shown.err
        assert "160.0/160.0 kB" in shown.err
        assert not shown.out

    def test_a_folder_that_cannot_be_made(self, network, tmp_path):
        (tmp_path / "little").write_text("a file where the folder should be")
        with pytest.raises(OutputError, match=r"must be writable.*little") as caught:
            find_files(published(), tmp_path, download=True)
        assert isinstance(caught.value, NnlibError)
        assert isinstance(caught.value, OSError)


def test_paths_are_pathlib(small_mnist):
    from nnlib.data.mnist import _MNIST

    paths = find_files(_MNIST, small_mnist, download=False)
    assert all(isinstance(path, Path) for path in paths)
    assert [path.name[:12] for path in paths] == [
        "train-images",
        "train-labels",
        "t10k-images-",
        "t10k-labels-",
    ]
