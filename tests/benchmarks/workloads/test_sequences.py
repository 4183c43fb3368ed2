import numpy as np

from nnlib_benchmarks.workloads import sequences


def test_without_a_text_every_token_has_few_successors(monkeypatch, tmp_path):
    monkeypatch.delenv("NNLIB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    train, about = sequences.text(0)

    assert "not found" in about
    assert train.pixels.shape == train.labels.shape == (2048, 64)
    assert train.pixels.max() == train.labels.max() == 64
    successors = {(a, b) for a, b in zip(train.pixels.flat, train.labels.flat, strict=True)}
    assert len(successors) <= 65 * 4
    np.testing.assert_array_equal(train.labels, sequences.text(0)[0].labels)
    assert (train.labels != sequences.text(1)[0].labels).any()


def test_a_text_is_cut_so_that_every_label_is_the_next_character(monkeypatch, tmp_path):
    letters = "".join(chr(97 + i * i % 23) for i in range(300))
    (tmp_path / sequences.TEXT).write_text(letters)
    monkeypatch.setenv("NNLIB_DATA", str(tmp_path))

    train, about = sequences.text(0)

    tokens = np.unique(list(letters), return_inverse=True)[1]
    assert about == "characters of tinyshakespeare.txt"
    assert train.pixels.shape == (4, 64)  # of the 270 that are not kept for validation
    np.testing.assert_array_equal(train.pixels.ravel(), tokens[:256])
    np.testing.assert_array_equal(train.labels.ravel(), tokens[1:257])


def test_tokens_stay_numbers():
    train, _ = sequences.text(0)

    batch = train.prepare(train.pixels[:2])

    assert batch.dtype == np.int64
    np.testing.assert_array_equal(batch, train.pixels[:2])


def test_the_class_of_a_sequence_shows_in_its_last_steps():
    train = sequences.sequences(0)

    x = train.prepare(train.pixels)

    assert x.shape == (2048, 64, 32)
    sums = x[:, -8:, :10].sum(axis=1)
    chosen = np.take_along_axis(sums, train.labels[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(chosen, sums.max(axis=1), rtol=1e-5)
    assert np.bincount(train.labels).min() > 100
