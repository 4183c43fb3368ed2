"""Files with damage of all kinds, drawn at random: each reader gives a typed error or a value.

What is refused has changed nothing, and no reader takes memory or time that the file does not
explain.  The default run draws few of each kind; ``-m slow`` draws a thousand.
"""

import gzip
import io
import json
import os
import random
import signal
import tarfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mutations
import numpy as np
import pytest

import nnlib
from nnlib import models, nn, optim
from nnlib.cli.train import run as cli_run
from nnlib.data import BPETokenizer, CharTokenizer, parallel_text, read_idx, text
from nnlib.data.cifar import cifar10
from nnlib.errors import NnlibError
from nnlib.train import LearningCurve
from nnlib.train.trainer import Trainer

HANG = 60  # seconds: no reader takes one, but a machine may stand still
MEMORY = 300 << 20


class Kind:
    """A kind of file: a sound one, damage to it, and what reads it."""

    name = "file"

    def __init__(self, folder):
        self.path = folder / self.name
        self.raw = self.make(folder)

    def make(self, folder):
        """Return the bytes of a sound file."""
        raise NotImplementedError

    def damage(self, rng, raw):
        """Return other bytes."""
        return mutations.damaged_bytes(rng, raw)

    def one(self, rng):
        """Write a damaged file and read it."""
        self.path.write_bytes(self.damage(rng, self.raw))
        self.read()

    def read(self):
        """Read the file, and use what was read."""
        raise NotImplementedError


def saved(path, state, notes=None):
    nnlib.save(state, path, metadata=notes)
    return path.read_bytes()


class Weights(Kind):
    name = "w.safetensors"

    def make(self, folder):
        self.model = nn.Linear(2, 3)
        return saved(self.path, self.model, {"epoch": "3"})

    def damage(self, rng, raw):
        return mutations.damaged_safetensors(rng, raw)

    def read(self):
        before = raw_state(self.model.state_dict())
        try:
            nnlib.io.load_into(self.model, self.path)
        except NnlibError:
            assert raw_state(self.model.state_dict()) == before
            raise


def raw_state(state):
    """A nested state, as something that can be compared."""
    if isinstance(state, dict):
        return {key: raw_state(value) for key, value in state.items()}
    if isinstance(state, list):
        return [raw_state(value) for value in state]
    return state.numpy().tobytes() if hasattr(state, "numpy") else repr(state)


class Resuming(Kind):
    name = "c.safetensors"

    def make(self, folder):
        rng = np.random.default_rng(0)
        self.data = rng.normal(size=(6, 3)).astype(np.float32), np.arange(6) % 2
        trainer = self.trainer()
        trainer.fit(self.data, val=self.data, epochs=1, batch_size=4)
        trainer.save(self.path)
        self.now = self.trainer()
        return self.path.read_bytes()

    def trainer(self):
        model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        return Trainer(
            model, "cross_entropy", optimizer, metrics=["accuracy"], progress=False, compile=False,
            schedule=optim.schedules.CosineAnnealingLR(optimizer, T_max=3),
            callbacks=[nnlib.train.EarlyStopping("val_loss"), nnlib.train.LearningRateLogger()],
        )  # fmt: skip

    def damage(self, rng, raw):
        return mutations.damaged_safetensors(rng, raw, nested=("state",))

    def state(self):
        trainer = self.now
        parts = [part.state_dict() for part in (*trainer.callbacks, *trainer.metrics)]
        rest = trainer.epoch, trainer.step, trainer.batch, trainer.resumed, trainer.resume_from
        return raw_state(
            [
                trainer.model.state_dict(), trainer.optimizer.state_dict(),
                trainer.schedule.state_dict(), nnlib.random.default_generator.state_dict(),
                parts, list(rest), trainer.history.to_dict(),
            ]
        )  # fmt: skip

    def read(self):
        before = self.state()
        try:
            self.now.resume(self.path)
        except NnlibError:
            assert self.state() == before
            raise
        trainer, self.now = self.now, self.trainer()
        if trainer.epoch < 3:
            trainer.fit(self.data, val=self.data, epochs=trainer.epoch + 1, batch_size=4)


class LanguageModel(Kind):
    name = "m.safetensors"
    nested = ("nnlib.options", "nnlib.tokenizer")

    def model(self):
        return models.GPT(vocab_size=6, context=8, layers=2, heads=2, width=8)

    def make(self, folder):
        models.save_language_model(self.model(), CharTokenizer("_^$abc"), self.path)
        return self.path.read_bytes()

    def damage(self, rng, raw):
        return mutations.damaged_safetensors(rng, raw, nested=self.nested)

    def read(self):
        model, _ = models.load_language_model(self.path)
        inputs = ([[3, 4]], [[1, 3]]) if isinstance(model, models.Transformer) else ([[3, 4]],)
        model(*inputs)


class Rotary(LanguageModel):
    def model(self):
        return models.GPT(
            vocab_size=6, context=8, layers=1, heads=2, width=8, positions="rotary", bias=False
        )


class Recurrent(LanguageModel):
    def model(self):
        return models.CharRNN(6, width=8, layers=2, cell="gru")


class Translating(LanguageModel):
    def model(self):
        return models.Transformer(vocab_size=6, context=8, layers=1, heads=2, width=8, hidden=16)


class GPT2(Kind):
    name = "gpt2.safetensors"

    def make(self, folder):
        model = models.GPT(vocab_size=5, context=4, layers=2, heads=1, width=64)
        state = {
            name: value.numpy().T.copy() if "attn.c_" in name or "mlp.c_" in name else value
            for name, value in model.state_dict().items()
        }
        state = {name: np.ascontiguousarray(nnlib.tensor(v).numpy()) for name, v in state.items()}
        self.config = folder / "config.json"
        return saved(self.path, state)

    def damage(self, rng, raw):
        config = b'{"n_head": 1, "layer_norm_epsilon": 1e-05, "activation_function": "gelu_new"}'
        self.config.write_bytes(mutations.damaged_json(rng, config))
        if rng.random() < 0.3:
            return raw
        return mutations.damaged_safetensors(rng, raw)

    def read(self):
        models.GPT.from_gpt2(self.path)


class Idx(Kind):
    name = "x.idx"
    content = b"\0\0\x08\x02\0\0\0\x05\0\0\0\x14" + bytes(range(100))

    def make(self, folder):
        return self.content

    def read(self):
        read_idx(self.path)


class PackedIdx(Idx):
    def make(self, folder):
        return gzip.compress(self.content)

    def damage(self, rng, raw):
        if rng.random() < 0.3:
            return mutations.damaged_bytes(rng, raw)
        return gzip.compress(mutations.damaged_bytes(rng, self.content))


class Cifar(Kind):
    name = "cifar-10-binary.tar.gz"

    def make(self, folder):
        self.folder = folder
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = 3073
                tar.addfile(member, io.BytesIO(bytes(3073)))
        return packed.getvalue()

    def damage(self, rng, raw):
        return mutations.damaged_bytes(rng, zlib_packed(mutations.damaged_bytes(rng, raw)))

    def read(self):
        cifar10(self.folder, download=False)


def zlib_packed(data):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


class CifarHeaders(Cifar):
    """Names, sizes, kinds and links of the members, with sums that are right."""

    def damage(self, rng, raw):
        data = bytearray(raw)
        for _ in range(rng.choice((1, 2))):
            place = rng.randrange(6) * (512 + 3584)
            field, size = rng.choice(((0, 100), (124, 12), (156, 1), (157, 100), (345, 155)))
            values = [b"L", b"K", b"x", b"g", b"1", b"2", b"5", b"S", b"77777777777", b"\x80" * 12]
            value = rng.choice([*values, bytes(data[place : place + 100]), b"..\0", b"\xff" * 12])
            data[place + field : place + field + size] = value[:size].ljust(size, b"\0")
            data[place + 148 : place + 156] = b" " * 8
            total = sum(data[place : place + 512])
            data[place + 148 : place + 156] = f"{total:06o}\0 ".encode()
        return zlib_packed(bytes(data))


class Characters(Kind):
    name = "song.txt"

    def make(self, folder):
        return "tra la la ünd 字\n".encode() * 5

    def read(self):
        text(self.path)


class Pairs(Kind):
    name = "pairs.tsv"

    def make(self, folder):
        return "one\tuno\ntwo\tdos\n字\tü\n".encode()

    def read(self):
        parallel_text(self.path)


class CharacterVocabulary(Kind):
    name = "t.json"

    def make(self, folder):
        return CharTokenizer("abc").to_json().encode()

    def damage(self, rng, raw):
        return mutations.damaged_json(rng, raw)

    def read(self):
        tokenizer = nnlib.data.tokenizer_from_json(self.path.read_bytes().decode(errors="replace"))
        tokenizer.decode(tokenizer.encode("ab"))


class BytePairs(Kind):
    name = "tokenizer.json"

    def make(self, folder):
        pytest.importorskip("tokenizers")
        pieces = BPETokenizer.train(["low lower lowest"], 270, special=["<s>"])
        return pieces.to_json().encode()

    def damage(self, rng, raw):
        if rng.random() < 0.3:
            return mutations.damaged_bytes(rng, raw)
        content = json.loads(raw)
        part = rng.choice((content, content["model"], content["pre_tokenizer"], content["decoder"]))
        changed = mutations.damaged_value(rng, part)
        if part is content:
            content = changed
        elif isinstance(changed, dict):
            part.clear()
            part.update(changed)
        return json.dumps(content).encode() if _fits(content) else b"1" * 5000

    def read(self):
        tokenizer = BPETokenizer.from_file(self.path)
        tokenizer.decode(tokenizer.encode("lower <s> 字"))
        repr(tokenizer)


def _fits(content):
    try:
        json.dumps(content)
    except ValueError:
        return False
    return True


class Curve(Kind):
    name = "curve.json"

    def make(self, folder):
        curve = LearningCurve("accuracy", ("a", "b"), (10, 100), (0, 1), (50, 50), 8)
        curve.test_scores["a"][:] = 0.5
        curve.parameters = {"a": 3, "b": 4}
        return curve.to_json().encode()

    def damage(self, rng, raw):
        return mutations.damaged_json(rng, raw)

    def read(self):
        curve = LearningCurve.from_json(self.path)
        curve.table()
        curve.to_csv()
        repr(curve)


class Options(Kind):
    name = "options.json"

    def make(self, folder):
        return b'{"model": "mlp", "seed": 0, "lr": 0.1, "betas": [0.9, 0.99]}'

    def damage(self, rng, raw):
        return mutations.damaged_json(rng, raw)

    def read(self):
        cli_run._read_options(self.path)


class Benchmark(Kind):
    name = "run.json"

    def make(self, folder):
        from nnlib_benchmarks.records import Machine, Missing, Run, Settings
        from nnlib_benchmarks.schema import to_json

        machine = Machine("cpu", 2, 2, 1, [], "x", "3", [], {"numpy": "2"}, {}, "1", None)
        settings = Settings(["mlp"], ["numpy"], [], True, 1, 0)
        missing = [Missing("cupy", "not-installed", "x", "y")]
        run = Run(
            "nnlib-bench", 2, "now", 1.0, 0.0, settings, machine, [], missing, [], [], [], None
        )
        return to_json(run).encode()

    def damage(self, rng, raw):
        return mutations.damaged_json(rng, raw)

    def read(self):
        from nnlib_benchmarks.schema import load_run

        load_run(self.path)


class Torch(Kind):
    """State dicts of others: no files, but content that somebody else made."""

    convert = staticmethod(nnlib.io.from_torch)

    def make(self, folder):
        self.module = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)
        )
        self.module.input_shape = (4, 4, 1)
        self.state = {
            "conv.weight": np.ones((2, 1, 3, 3)), "conv.bias": np.ones(2),
            **{f"bn.{n}": np.ones(2) for n in ("weight", "bias", "running_mean", "running_var")},
            "fc.weight": np.ones((3, 8)), "fc.bias": np.ones(3),
        }  # fmt: skip
        return b""

    def one(self, rng):
        state = dict(self.state)
        for _ in range(rng.choice((1, 2))):
            if not state:
                break
            name = rng.choice(list(state))
            kind = rng.randrange(4)
            if kind == 0:
                del state[name]
            elif kind == 1:
                state[rng.choice(NAMES)] = state.pop(name)
            elif kind == 2:
                state[name] = np.ones(
                    [rng.choice((0, 1, 2, 3, 8)) for _ in range(rng.randrange(6))]
                )
            else:
                state[name] = rng.choice((*mutations.EXTREMES, object(), np.array("x"), b"x"))
        before = raw_state(self.module.state_dict())
        try:
            self.module.load_state_dict(self.convert(state, self.module))
        except NnlibError:
            assert raw_state(self.module.state_dict()) == before
            raise


NAMES = (
    "",
    ".",
    "a" + ".a" * 3000,
    "²",
    "conv.²",
    "10.weight",
    "conv",
    "weight",
    3,
    None,
    "x.weight",
)


class Keras(Torch):
    convert = staticmethod(nnlib.io.from_keras)

    def make(self, folder):
        super().make(folder)
        self.state = {
            "conv/kernel": np.ones((3, 3, 1, 2)), "conv/bias": np.ones(2),
            **{f"bn/{n}": np.ones(2) for n in ("gamma", "beta", "moving_mean", "moving_variance")},
            "fc/kernel": np.ones((8, 3)), "fc/bias": np.ones(3),
        }  # fmt: skip
        return b""


KINDS = [
    *(
        Weights,
        Resuming,
        LanguageModel,
        Rotary,
        Recurrent,
        Translating,
        GPT2,
        Idx,
        PackedIdx,
        Cifar,
    ),
    *(CifarHeaders, Characters, Pairs, CharacterVocabulary, BytePairs, Curve, Options, Benchmark),
    *(Torch, Keras),
]


@dataclass
class Counts:
    """What became of the files."""

    refused: int = 0
    read: int = 0


def draw(kind: Any, folder: Any, seed: int, count: int) -> Counts:
    """Damage files of a kind, and read them; anything but a typed error passes."""
    rng, counts = random.Random(seed), Counts()
    subject = kind(folder)
    before = peak_memory()
    for number in range(count):
        with guarded(f"{kind.__name__}, seed {seed}, file {number}"):
            try:
                subject.one(rng)
                counts.read += 1
            except NnlibError:
                counts.refused += 1
    assert peak_memory() - before < MEMORY
    return counts


def peak_memory():
    resource = pytest.importorskip("resource")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class HangError(BaseException):
    """Is caught by nobody."""


@contextmanager
def guarded(what):
    """Fail where a reader hangs, and say with which file."""

    def hangs(*_):
        raise HangError(what)

    usual = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANG)
    try:
        yield
    except Exception as error:
        error.add_note(what)
        raise
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, usual)


pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs alarms"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # NumPy's, of huge numbers
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_few(kind, tmp_path):
    counts = draw(kind, tmp_path, seed=1, count=20)
    assert counts.refused or kind is Options  # which has few rules


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_many(kind, tmp_path):
    counts = draw(kind, tmp_path, seed=2, count=1000)
    assert counts.refused > 20
