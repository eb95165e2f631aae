# SPDX-License-Identifier: Apache-2.0
"""Training under a mask: schedules, the loop, runs that are interrupted, and the one call."""

import copy
import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from xorloom.sw.base.errors import ConfigError, DivergedError  # noqa: E402
from xorloom.sw.index.choice import BudgetError  # noqa: E402
from xorloom.sw.model.container import read_container  # noqa: E402
from xorloom.sw.torch import (  # noqa: E402
    LayerPlan,
    Schedule,
    Teacher,
    TensorBatches,
    compress,
    export,
    fit,
    load,
    optimizer_groups,
    prune,
)

from tests.helpers.torch_nets import made  # noqa: E402

TRELLIS = LayerPlan("trellis", density=0.15, index_bits=0.1)
cross_entropy = torch.nn.functional.cross_entropy


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def task(count=512):
    """Return images of ten classes: noisy copies of ten patterns."""
    generator = torch.Generator().manual_seed(1)
    patterns = torch.randn(10, 1, 14, 14, generator=generator)
    labels = torch.arange(count) % 10
    noise = torch.randn(count, 1, 14, 14, generator=generator)
    return patterns[labels] + noise, labels


def batches(seed=0):
    return TensorBatches(*task(), 64, seed)


def accuracy(module):
    inputs, labels = task()
    with torch.no_grad():
        return float((module(inputs).argmax(1) == labels).float().mean())


def trained():
    module, _ = made("dense")
    fit(module, batches(), cross_entropy, epochs=3, lr=2e-3, seed=0)
    return module


def test_training_repeats_bit_by_bit_and_brings_the_network_back():
    module = trained()
    assert accuracy(module) > 0.98
    runs = []
    for _ in range(2):
        own = copy.deepcopy(module)
        prune(own, LayerPlan("hashed", density=0.2))
        before = accuracy(own)
        found = fit(own, batches(), cross_entropy, epochs=3, lr=8e-3, seed=0)
        runs.append((own, found))
    (one, first), (two, second) = runs
    assert first == second
    assert first.steps == 24
    assert len(first.losses) == 3
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert accuracy(one) > max(0.95, before)


def test_an_interrupted_run_goes_on_bit_by_bit(tmp_path):
    inputs, labels = task(128)
    plans = {"1.weight": TRELLIS, "3.weight": LayerPlan("hashed", density=0.2, planes=2)}
    schedule = Schedule(fade=0.5, rechoices=2)

    def start():
        module, _ = made("dense")
        handle = prune(module, plans, schedule=schedule)
        return module, handle, torch.optim.Adam(optimizer_groups(module, 4e-3))

    def run(module, handle, optimizer, steps):
        for step in steps:
            handle.step(step / 12)
            optimizer.zero_grad()
            cross_entropy(module(inputs), labels).backward()
            optimizer.step()

    whole, handle, optimizer = start()
    run(whole, handle, optimizer, range(12))
    handle.step(1.0)
    part, half, optimizer = start()
    run(part, half, optimizer, range(7))
    torch.save({"module": part.state_dict(), "adam": optimizer.state_dict()}, tmp_path / "a.pt")
    fresh, rest, optimizer = start()
    with torch.no_grad():
        rest.latent("1.weight").normal_()  # nothing of the new start may count
    saved = torch.load(tmp_path / "a.pt", weights_only=True)
    fresh.load_state_dict(saved["module"])
    optimizer.load_state_dict(saved["adam"])
    run(fresh, rest, optimizer, range(7, 12))
    rest.step(1.0)
    for a, b in zip(whole.state_dict().values(), fresh.state_dict().values(), strict=True):
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b)
    assert rest.coded("1.weight").choice.seeds == handle.coded("1.weight").choice.seeds
    export(fresh, tmp_path / "m.safetensors")
    assert torch.equal(load(tmp_path / "m.safetensors", made("dense")[0])(inputs), whole(inputs))


def test_a_state_dict_of_another_mask_is_refused():
    module, other = made("dense")[0], made("dense")[0]
    prune(module, {"1.weight": TRELLIS})
    prune(other, {"1.weight": LayerPlan("hashed", density=0.2)})
    with pytest.raises(
        ConfigError, match=r"1.weight: the state dict has a mask of the trellis ind"
    ):
        other.load_state_dict(module.state_dict())


def test_a_ramp_prunes_little_by_little_and_chooses_its_mask_at_the_end():
    module = trained()
    handle = prune(module, TRELLIS, schedule=Schedule(ramp=0.5))
    assert handle.coded("1.weight").quantized.mask.all()
    fit(module, batches(), cross_entropy, epochs=5, lr=4e-3, handle=handle, seed=0)
    densities = [c.density for c in handle.changes if c.name == "1.weight"]
    assert densities == sorted(densities, reverse=True)
    assert len(densities) == 20
    assert densities[-1] == pytest.approx(0.15, abs=0.01)
    assert all(c.churn < 0.01 for c in handle.changes if c.name == "1.weight" and c.density > 0.16)
    assert handle.coded("1.weight").choice is not None
    assert accuracy(module) > 0.95


def test_rechosen_masks_keep_nine_of_ten_weights_in_force(caplog):
    module = trained()
    handle = prune(module, TRELLIS, schedule=Schedule(rechoices=3, hysteresis=0.1))
    masks = [handle.coded("1.weight").quantized.mask]
    for progress in (0.1, 0.26, 0.51, 0.76):
        with torch.no_grad():  # a training that changes every weight
            latent = handle.latent("1.weight")
            latent.add_(torch.randn_like(latent) * latent.std() * 0.3)
        handle.step(progress)
        masks.append(handle.coded("1.weight").quantized.mask)
    changes = [change for change in handle.changes if change.name == "1.weight"]
    assert [change.progress for change in changes] == [0.26, 0.51, 0.76]
    for change, before, after in zip(changes, masks[1:], masks[2:], strict=False):
        new = np.count_nonzero(after & ~before) / np.count_nonzero(after)
        assert change.churn == pytest.approx(new)
        assert change.churn <= 0.1
        assert change.hysteresis >= 0.1
    assert max(change.churn for change in changes) > 0
    assert not any(coding.dense_gradient for coding in handle.codings.values())


def test_pruned_weights_fade_out(tmp_path):
    module, inputs = made("dense")
    dense = module(inputs)
    handle = prune(module, LayerPlan("magnitude", planes=3), schedule=Schedule(fade=0.5))
    apart = []
    for progress in (0.0, 0.25, 0.5):
        handle.step(progress)
        apart.append(float((module(inputs) - dense).detach().square().mean()))
    assert apart == sorted(apart)
    assert apart[0] < 0.1 * apart[2]
    handle.step(0.4)
    with pytest.raises(ConfigError, match=r"1.weight: pruned weights still count 0\.2: bring the"):
        export(module, tmp_path / "m.safetensors")
    handle.step(1.0)
    export(module, tmp_path / "m.safetensors")


def test_a_teacher_is_followed():
    teacher = trained()
    inputs, _ = task(64)
    student = copy.deepcopy(teacher)
    prune(student, LayerPlan("magnitude", density=0.2))
    with torch.no_grad():
        before = (student(inputs) - teacher(inputs)).square().mean()
        loss = cross_entropy(student(inputs), torch.zeros(64).long())
        same = Teacher(teacher, share=1.0).mixed(loss, teacher(inputs), inputs)
    assert abs(float(same)) < 1e-6
    # every label is wrong: only the teacher tells what is right
    wrong = TensorBatches(inputs, torch.zeros(64).long(), 32)
    fit(student, wrong, cross_entropy, epochs=20, teacher=Teacher(teacher, share=1.0))
    with torch.no_grad():
        assert (student(inputs) - teacher(inputs)).square().mean() < 0.5 * before


def test_faults_of_a_training_are_told():
    module, inputs = made("dense")
    prune(module, TRELLIS)
    good = [(inputs, torch.zeros(8).long())]
    with pytest.raises(
        DivergedError, match=r"the loss is nan at step 2 of 6 \(epoch 1\): lower lr"
    ):
        fit(module, [*good, (inputs * float("nan"), good[0][1])], cross_entropy, epochs=3)
    with pytest.raises(ConfigError, match="batches must have a length"):
        fit(module, iter(good), cross_entropy)
    with pytest.raises(ConfigError, match="nothing to train: 1 batches, 0 epochs"):
        fit(module, good, cross_entropy, epochs=0)
    with pytest.raises(ConfigError, match="no parameter of Sequential requires a gradient"):
        fit(module.requires_grad_(False), good, cross_entropy)
    with pytest.raises(ConfigError, match="8 inputs, 7 targets, size 2"):
        TensorBatches(inputs, torch.zeros(7), 2)
    with pytest.raises(ConfigError, match="temperature above 0 and a share between 0 and 1"):
        Teacher(module, share=2)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"ramp": 1.0}, r"ramp must be in \[0, 1\), not 1.0"),
        ({"fade": -1}, r"fade must be in \[0, 1\), not -1"),
        ({"rechoices": 1, "ramp": 0.8}, "until must be between ramp 0.8 and 1, not 0.75"),
        ({"churn": 0}, "churn must be in"),
    ],
)
def test_a_schedule_checks_its_values(fields, text):
    with pytest.raises(ConfigError, match=text):
        Schedule(**fields)


def test_what_does_not_go_with_a_schedule_is_refused():
    module, _ = made("dense")
    worth = {"1.weight": np.ones((120, 196), np.float32)}
    with pytest.raises(ConfigError, match="importance does not go with a ramp"):
        prune(module, TRELLIS, worth, schedule=Schedule(ramp=0.5))
    with pytest.raises(ConfigError, match=r"1.weight: a ramp leads to a mask, and mask all prunes"):
        prune(module, LayerPlan("all"), schedule=Schedule(ramp=0.5))
    handle = prune(module, TRELLIS, schedule=Schedule(fade=0.5))
    with pytest.raises(ConfigError, match="progress must be between 0 and 1, not 5"):
        handle.step(5)


@pytest.mark.parametrize(
    ("method", "budget", "split"),
    [("trellis", 0.4, {"planes": 2}), ("magnitude", 0.4, {}), ("hashed", 0.3, {})],
)
def test_one_call_keeps_the_budget_and_the_accuracy(tmp_path, caplog, method, budget, split):
    module = trained()
    path = tmp_path / "m.safetensors"

    def train(module, handle):
        fit(module, batches(), cross_entropy, epochs=3, lr=8e-3, handle=handle, seed=0)

    with caplog.at_level(logging.INFO):
        found = compress(module, budget, train, path=path, method=method, **split)
    assert "xorloom: left as they are: 5.weight" in [record.message for record in caplog.records]
    assert found.difference == 0
    assert 0.96 * budget < found.bits_per_weight <= budget
    assert accuracy(module) > 0.95
    fresh = load(path, made("dense", seed=4)[0].eval())
    assert torch.equal(fresh(task()[0]), module(task()[0]))
    container = read_container(path)
    stored = sum(
        container.entry(name + part)[2] * 8
        for name, info in container.tensors.items()
        for part in info.parts
    )
    assert stored == found.bits_per_weight * sum(b.weights for b in found.bits.values())
    assert found.to_dict()["bits_per_weight"] == found.bits_per_weight


def test_a_budget_that_scales_and_headers_exceed_changes_nothing():
    module, inputs = made("dense")
    before = module(inputs)
    with pytest.raises(BudgetError, match="bits per weight are too few: the least is"):
        compress(module, 0.02)
    with pytest.raises(ConfigError, match=r"'9\.\*' names no weight"):
        compress(module, 0.4, weights=["9.*"])
    assert torch.equal(module(inputs), before)
