# SPDX-License-Identifier: Apache-2.0
"""Rows of the accuracy laboratory, on a few random images: what they hold and what made them."""

import math
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from xorloom.sim.bench.accuracy import measure as engine  # noqa: E402
from xorloom.sim.bench.accuracy import networks  # noqa: E402
from xorloom.sim.bench.accuracy.jobs import Job, jobs  # noqa: E402
from xorloom.sim.bench.accuracy.methods import METHODS  # noqa: E402
from xorloom.sim.bench.accuracy.networks import NETWORKS  # noqa: E402
from xorloom.sim.bench.accuracy.store import Store  # noqa: E402
from xorloom.sim.bench.accuracy.tasks import Part, Task  # noqa: E402
from xorloom.sim.bench.accuracy.training import dense_state  # noqa: E402
from xorloom.sim.bench.accuracy.vision import LeNet300  # noqa: E402
from xorloom.sim.datasets import Images  # noqa: E402
from xorloom.sim.datasets.images import MNIST  # noqa: E402
from xorloom.sw.base.errors import DivergedError, FormatError, ToolError  # noqa: E402

KEYS = {"network", "data", "method", "density", "index_bits", "planes", "bits_per_weight"}
KEYS |= {"accuracy", "accuracy_std", "dense_accuracy", "epochs", "seeds", "budget", "scale"}
KEYS |= {"accuracy_loss_from_codec", "learning_rate", "validation_accuracy", "command", "metric"}


def images() -> Images:
    """7,000 random images of two classes that differ in brightness, and 600 to test with."""
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 2, count).astype(np.uint8) for count in (7000, 600)]
    made = [rng.integers(0, 100, (len(own), 28, 28), np.uint8) for own in labels]
    for part, own in zip(made, labels, strict=True):
        part[own == 1, :14] += 100
    return Images(made[0], labels[0], made[1], labels[1])


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random images in the place of MNIST, and a cache of the test's own."""
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path))
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setattr(f"xorloom.sim.datasets.{name}", images)
    engine.subject.cache_clear()


def job(method: str, budget: float, network: str = "lenet-300-100") -> Job:
    (found,) = jobs([network], ["fashion-mnist"], [method], [budget], quick=True)
    return found


@pytest.mark.parametrize(
    ("method", "budget"), [("entropy", 0.26), ("trellis-2", 0.4), ("n:m", 0.26), ("dense", 1.0)]
)
def test_row_has_its_keys_and_keeps_the_budget(method: str, budget: float) -> None:
    row = engine.measure(job(method, budget))
    assert set(row) == KEYS
    assert row["accuracy_loss_from_codec"] == 0
    assert row["accuracy"] > 40
    assert row["planes"] == METHODS[method].planes
    if method == "dense":
        assert row["density"] == 1
        assert 1 < row["bits_per_weight"] < 1.1
        return
    least = 0.85 if method == "n:m" else 0.98
    assert least * budget < row["bits_per_weight"] <= 1.01 * budget
    assert row["density"] * row["planes"] < row["bits_per_weight"]


def test_paper_takes_the_share_that_has_a_plan() -> None:
    on = engine.subject("lenet-300-100", "fashion-mnist", quick=True)
    (choice,) = engine.candidates(on, METHODS["paper"], 0.1)
    assert choice.plan.density < 0.35 * 0.1


def test_budget_below_the_least_gives_a_reason() -> None:
    found = engine.measure(job("entropy", 0.0001))
    assert set(found) == {"reason"}
    assert "0.0001 bits per weight are too few" in found["reason"]


def test_file_of_other_weights_gives_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine.load

    def other(path: Path, module: object) -> object:
        found = real(path, module)
        with torch.no_grad():
            found.fc3.bias += 1e-3
        return found

    monkeypatch.setattr(engine, "load", other)
    with pytest.raises(FormatError, match=r"entropy at 0.26: the file's network computes other"):
        engine.measure(job("entropy", 0.26))


class Blind(LeNet300):
    """A task that has no test part to look at."""

    def part(self, name: str) -> Part:
        """Return a part, but not this one."""
        assert name != "test", "selection looks at the test part"
        return super().part(name)


def test_selection_and_training_see_no_test_data(monkeypatch: pytest.MonkeyPatch) -> None:
    on = engine.subject("lenet-300-100", "fashion-mnist", quick=True)
    blind = Blind(on.task._parts, on.task.schedule)
    hidden = engine.Subject(blind, on.module, on.dense)
    choices = engine.candidates(hidden, METHODS["entropy"], 0.26)
    assert engine.select(hidden, METHODS["entropy"], choices)[0] in choices
    monkeypatch.setattr(Task, "higher_is_better", property(lambda self: True))
    with pytest.raises(AssertionError, match="selection looks at the test part"):
        hidden.task.logits(on.module, "test")


def test_selection_takes_the_best_on_the_validation_part(monkeypatch: pytest.MonkeyPatch) -> None:
    on = engine.subject("lenet-300-100", "fashion-mnist", quick=True)
    (choice,) = engine.candidates(on, METHODS["entropy"], 0.26)
    from dataclasses import replace

    rates = [1e-9, 4e-3, 1e-8]
    figures = dict(zip(rates, (50.0, 70.0, 60.0), strict=True))
    trained: list[float] = []

    def train(
        task: object, module: object, epochs: int, rate: float, seed: int, **_how: object
    ) -> None:
        trained.append(rate)

    monkeypatch.setattr(engine, "train", train)
    monkeypatch.setattr(on.task, "figure", lambda logits, part: figures[trained[-1]])
    choices = [replace(choice, rate=rate) for rate in rates]
    assert engine.select(on, METHODS["entropy"], choices) == (choices[1], 70.0)
    monkeypatch.setattr(type(on.task), "metric", "bits_per_character")
    assert engine.select(on, METHODS["entropy"], choices) == (choices[0], 50.0)


def test_candidates_that_diverge_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    on = engine.subject("lenet-300-100", "fashion-mnist", quick=True)
    choices = engine.candidates(on, METHODS["entropy"], 0.26)

    def train(*_given: object, **_named: object) -> None:
        raise DivergedError("the loss is nan")

    monkeypatch.setattr(engine, "train", train)
    with pytest.raises(DivergedError, match="the loss is nan"):
        engine.select(on, METHODS["entropy"], choices)


def test_dense_network_is_trained_once_and_again_if_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    schedule = NETWORKS["lenet-300-100"].schedule.quick
    task = NETWORKS["lenet-300-100"].task("mnist", schedule, True)
    first = dense_state(task, "key")
    (path,) = tmp_path.glob("accuracy/dense-*.npz")
    written = path.stat().st_mtime_ns
    again = dense_state(task, "key")
    assert path.stat().st_mtime_ns == written
    assert all(torch.equal(first[name], again[name]) for name in first)
    path.write_bytes(path.read_bytes()[:1000])
    third = dense_state(task, "key")
    assert all(torch.equal(first[name], third[name]) for name in first)
    assert "is damaged: the dense network is trained again" in caplog.text


@pytest.mark.parametrize("network", ["lenet-5", "resnet", "lstm"])
def test_networks_have_the_weights_that_are_compressed(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(map(chr, np.random.default_rng(0).integers(97, 123, 30_000)))
    monkeypatch.setattr("xorloom.sim.datasets.moby_dick", lambda: text)
    on = networks.NETWORKS[network]
    task = on.task("fashion-mnist", on.schedule.quick, True)
    module = task.dense()
    own, fixed = task.fixed(module)
    sizes = {"lenet-5": 400_000, "resnet": 147_456, "lstm": 1_142_784}
    state = fixed.state_dict()
    assert sum(math.prod(state[name].shape) for name in own.weights) == sizes[network]
    assert own.module().state_dict().keys() == state.keys()
    assert torch.equal(own.logits(fixed, "test"), task.logits(module, "test"))


def test_parts_share_no_image() -> None:
    from xorloom.sim.bench.accuracy.vision import VALIDATION, image_parts

    parts = image_parts("mnist", quick=False)
    assert {name: len(part.inputs) for name, part in parts.items()} == {
        "train": 2000,
        "validation": VALIDATION,
        "test": 600,
    }
    whole = torch.cat([part.inputs for part in parts.values()]).flatten(1)
    assert len(torch.unique(whole, dim=0)) == len(whole)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_command_leaves_no_worker_and_keeps_what_was_measured(
    stop: signal.Signals, tmp_path: Path
) -> None:
    # Any bytes of MNIST's size and checksum will not do: the real images, out of the real cache.
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("XORLOOM_CACHE")
            os.link(MNIST.file("mnist.images"), tmp_path / "mnist.images")
    except (ToolError, OSError) as error:
        warnings.warn(f"MNIST is not there, nothing checked: {error}", stacklevel=1)
        return
    words = [sys.executable, "-m", "xorloom.sim.cli", "bench", "accuracy", "--quick"]
    words += ["--network", "lenet-300-100", "--data", "mnist"]
    for method in ("n:m", "entropy", "trellis", "direct-viterbi"):
        words += ["--method", method]
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    ) as command:
        assert command.stderr is not None
        for line in command.stderr:
            if line.startswith("1 of "):
                break
        command.send_signal(stop)
        code = command.wait(timeout=30)
        assert code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[stop]
    for _ in range(50):
        try:
            os.killpg(command.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        os.killpg(command.pid, signal.SIGKILL)
        pytest.fail("workers are left")
    assert len(Store(tmp_path / "accuracy" / "outcomes.jsonl").read()) >= 1
