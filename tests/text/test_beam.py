import itertools

import numpy as np
import pytest

import nnlib
from nnlib.models import Transformer, TransformerConfig
from nnlib.nn import functional as F
from nnlib.text.beam import search

PAD, START, END = 0, 1, 2


def make(vocab_size=9, sharp=3.0, **options):
    """A small model that is sure of itself, so that its sentences differ and end."""
    sizes = {"context": 10, "layers": 1, "heads": 2, "width": 16, "hidden": 24}
    model = Transformer(vocab_size=vocab_size, **{**sizes, **options}).eval()
    for name, p in model.named_parameters():
        if "norm" not in name:
            p.data[...] = p.data * sharp
    return model


def sources(batch, length=5, vocab_size=9):
    source = np.random.default_rng(3).integers(3, vocab_size, (batch, length))
    source[0, 3:] = PAD
    return source


def log_probability(model, source, written, length_penalty=1.0):
    """Of each row up to its end; divided by length ** length_penalty."""
    start = np.full((len(written), 1), START)
    logits = model(source, np.concatenate([start, written[:, :-1]], axis=1)).numpy()
    total = np.log(np.exp(logits - logits.max(-1, keepdims=True)))
    total -= np.log(np.exp(total).sum(-1, keepdims=True))
    chosen = np.take_along_axis(total, written[..., None], axis=-1)[..., 0]
    counted = written != PAD
    return (chosen * counted).sum(axis=1) / counted.sum(axis=1) ** length_penalty


def test_greedy_takes_the_likeliest_token(backend):
    model, source = make(), sources(6)
    written = model.generate(nnlib.tensor(source), 8).numpy()
    for row, x in zip(written, source, strict=True):
        y = [START]
        for token in row:
            if y[-1] in (END, PAD) and len(y) > 1:
                assert token == PAD
            else:
                logits = model(nnlib.tensor(x[None]), nnlib.tensor([y])).numpy()[0, -1]
                logits[[PAD, START]] = -np.inf
                assert token == logits.argmax()
            y.append(int(token))
    assert len({tuple(row) for row in written.tolist()}) > 1


def test_stops_when_all_have_ended():
    model = make()
    model.decoder.norm.weight.data[...] = 0.0  # the same logits everywhere
    model.decoder.norm.bias.data[...] = model.embedding.weight.data[END] * 100
    np.testing.assert_array_equal(model.generate(sources(3), 8).numpy(), [[END]] * 3)
    written = model.generate(sources(3), 8, beam=3).numpy()
    assert (written[:, 0] == END).all()
    assert (written[:, 1:] == PAD).all()


def beam_search_by_hand(model, x, steps, beam, length_penalty):
    """One source, no cache: every beginning is decoded anew at every step."""
    kept = [((), 0.0)]

    def rank(hypothesis):
        return hypothesis[1] / len(hypothesis[0]) ** length_penalty

    for _ in range(steps):
        candidates = []
        for y, score in kept:
            if y and y[-1] == END:
                candidates.append((y, score))
                continue
            logits = model(x[None], np.array([[START, *y]])).numpy()[0, -1].astype("float64")
            gains = logits - np.log(np.exp(logits).sum())
            candidates += [
                ((*y, token), score + gains[token])
                for token in range(len(gains))
                if token not in (PAD, START)
            ]
        kept = sorted(candidates, key=rank, reverse=True)[:beam]
        if all(y[-1] == END for y, _ in kept):
            break
    return list(kept[0][0])


@pytest.mark.parametrize(("beam", "length_penalty"), [(2, 1.0), (4, 0.6), (5, 0.0)])
def test_as_by_hand(beam, length_penalty):
    model, source = make(20, 2.0, layers=2), sources(12, vocab_size=20)
    written = model.generate(source, 7, beam, length_penalty).tolist()
    for row, x in zip(written, source, strict=True):
        expected = beam_search_by_hand(model, x, 7, beam, length_penalty)
        assert row == expected + [PAD] * (len(row) - len(expected))


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_wide_beam_finds_the_best_of_all(backend, length_penalty):
    """With two steps and a beam for every first token nothing is lost."""
    size = 7
    model, source = make(size, 1.5), sources(4, vocab_size=size)
    best = model.generate(nnlib.tensor(source), 2, size - 2, length_penalty).numpy()
    every = [(END, PAD), *itertools.product(range(3, size), range(2, size))]
    with nnlib.use_backend("numpy"):
        copy = make(size, 1.5)
        copy.load_state_dict({k: v.numpy() for k, v in model.state_dict().items()})
        for row, x in zip(best, source, strict=True):
            scores = log_probability(
                copy, np.tile(x, (len(every), 1)), np.array(every), length_penalty
            )
            assert tuple(row) == every[scores.argmax()]


def test_wider_is_likelier():
    """Not for every sentence, but for these it must be so in the mean."""
    model, source = make(20, 1.2, layers=2), sources(40, vocab_size=20)
    means = [
        log_probability(model, source, model.generate(source, 8, beam=beam).numpy()).mean()
        for beam in (1, 4, 12)
    ]
    assert means[0] < means[1] <= means[2] + 1e-3


def test_a_sentence_does_not_depend_on_its_neighbours():
    model, source = make(20, 2.0), sources(8, vocab_size=20)
    together = model.generate(source, 8, beam=3).numpy()
    for i in range(8):
        (alone,) = model.generate(source[i : i + 1], 8, beam=3).numpy()
        np.testing.assert_array_equal(together[i, : len(alone)], alone)
        assert (together[i, len(alone) :] == PAD).all()


@pytest.mark.parametrize(("length_penalty", "best"), [(0.0, [END, PAD]), (1.0, [3, END, PAD])])
def test_short_or_long(length_penalty, best):
    """A beginning that has ended keeps its place; the penalty decides between short and long."""
    # to end at once has 0.4, after a token 0.6 · 0.66
    chances = iter([[0, 0, 0.4, 0.6, 0], [0, 0, 0.66, 0, 0.34], [0, 0, 1, 0, 0]])

    def advance(last):
        row = np.log(np.array(next(chances), "float32") + 1e-20)
        return nnlib.tensor(np.tile(row, (len(last), 1)))

    config = TransformerConfig(vocab_size=5)
    found = search(advance, lambda rows: None, config, 1, 4, 2, length_penalty, nnlib.zeros(1))
    assert found.tolist() == [best]


def test_one_value_is_read_in_a_step(backend):
    if backend.name != "strict":
        pytest.skip("counts reads")
    from strict_backend import counting

    model, source = make(), nnlib.tensor(sources(2))
    with counting() as counts:
        steps = model.generate(source, 8, beam=2).shape[1]
    assert counts.reads <= steps


def test_log_softmax_of_the_test():
    """The scale that `log_probability` measures with is the library's."""
    model, source = make(), sources(3)
    written = model.generate(source, 4).numpy()
    y = np.concatenate([np.full((3, 1), START), written[:, :-1]], axis=1)
    losses = F.cross_entropy(
        model(source, y), nnlib.tensor(written), ignore_index=PAD, reduction="none"
    )
    np.testing.assert_allclose(
        log_probability(model, source, written, 0.0), -losses.numpy().sum(axis=1), rtol=1e-4
    )
