# SPDX-License-Identifier: Apache-2.0
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError, DivergedError
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import INDEX, STREAM, read_container
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.source import open_plain
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct_preset import direct_config
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.direct.calibrated import direct_plan

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402
from xorloom.sw.index.choice import index_config  # noqa: E402
from xorloom.sw.torch import collect, distil, export, heal, load, load_frozen, prune  # noqa: E402
from xorloom.sw.torch.coding.frozen import FrozenCoding  # noqa: E402
from xorloom.sw.torch.healing.distil import distance  # noqa: E402
from xorloom.sw.torch.plan import LayerPlan  # noqa: E402
from xorloom.sw.torch.pruned import pruned  # noqa: E402

DIRECT = direct_config(rate=Fraction(1), window=8)
WEIGHTS = ["0.weight", "2.weight"]


def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(48, 64), torch.nn.GELU(), torch.nn.Linear(64, 32), torch.nn.LayerNorm(32)
    )


def inputs(count: int = 12) -> list[Any]:
    made = torch.Generator().manual_seed(1)
    return [torch.randn(32, 48, generator=made) + 0.3 for _ in range(count)]


def compressed(folder: Path, kind: str) -> Path:
    """A file of :func:`network`: calibrated and rotated, masks that a trellis chose, or given."""
    plain, path = folder / "plain.safetensors", folder / f"{kind}.safetensors"
    save_file(network().state_dict(), plain)
    given = None
    if kind == "direct":
        quantizer = Quantizer("trellis", DIRECT.planes)
        plan = TensorPlan(quantizer=quantizer, config=DIRECT, rotation=5, search=False)
        chosen = direct_plan(DIRECT, quantizer, rotation=5)
        given = UserArrays(calibration=collect(network(), inputs(), chosen))
    else:
        index = index_config(kind, WindowConfig(), 2, density=0.4)
        plan = TensorPlan(sparsity=0.6, quantizer=Quantizer("alternating", 2), index=index)
    compress_model(open_plain(plain), path, dict.fromkeys(WEIGHTS, plan), given=given)
    return path


@pytest.mark.parametrize("kind", ["direct", "trellis", "entropy"])
def test_healing_trains_scales_and_leaves_all_else_as_it_is_in_the_file(
    kind: str, tmp_path: Path
) -> None:
    path, healed = compressed(tmp_path, kind), tmp_path / "healed.safetensors"
    module = load_frozen(path, network())
    plain = load(path, network())
    batch = inputs(1)[0]
    assert torch.equal(module(batch), plain(batch))
    done = heal(module, network(), inputs(), steps=60, rate=1e-2, scale_rate=1e-2)
    assert done.steps == 60
    assert np.mean(done.losses[-12:]) < 0.95 * np.mean(done.losses[:12])

    export(module, healed)
    assert torch.equal(load(healed, network())(batch), module(batch))
    before, after = read_container(path), read_container(healed)
    for name in WEIGHTS:
        old, new = decode_tensor(before, name), decode_tensor(after, name)
        for part in ("mask", "codes", "levels"):
            assert np.array_equal(getattr(old, part), getattr(new, part)), part
        assert not np.array_equal(old.scales, new.scales)
        assert old.scales.dtype == new.scales.dtype
        assert new.rotation == old.rotation == (5 if kind == "direct" else None)
        assert bytes(before.raw(name + INDEX)) == bytes(after.raw(name + INDEX))
        assert before.tensor(name).decoder.index == after.tensor(name).decoder.index
        if kind == "direct":
            assert bytes(before.raw(name + STREAM)) == bytes(after.raw(name + STREAM))
    for name in ("0.bias", "3.weight", "3.bias"):
        assert not np.array_equal(before.array(name), after.array(name))


def test_healing_freezes_what_was_trained(tmp_path: Path) -> None:
    module, teacher = network(), network()
    plan = LayerPlan(mask="magnitude", density=0.5, planes=2, scale="row")
    prune(module, dict.fromkeys(WEIGHTS, plan))
    latent = module[0].parametrizations.weight.original
    before = latent.detach().clone()
    first = distil(module, teacher, inputs(), steps=40, latent_rate=1e-2)
    assert not torch.equal(latent, before)
    before = latent.detach().clone()
    with torch.no_grad():
        weight = module[0].weight.clone()
    codes = pruned(module)[0].coded().quantized.codes
    done = heal(module, teacher, inputs(), steps=24)
    assert all(isinstance(weight.coding, FrozenCoding) for weight in pruned(module))
    assert np.array_equal(pruned(module)[0].coded().quantized.codes, codes)
    assert torch.equal(latent, before)
    assert not torch.equal(module[0].weight, weight)
    assert first.losses[0] > np.mean(done.losses[-12:])
    path = tmp_path / "trained.safetensors"
    export(module, path)
    batch = inputs(1)[0]
    assert torch.equal(load(path, network())(batch), module(batch))


def test_healing_leaves_module_and_teacher_in_their_modes(tmp_path: Path) -> None:
    module, teacher = load_frozen(compressed(tmp_path, "entropy"), network()), network()
    state = {name: value.clone() for name, value in teacher.state_dict().items()}
    module.train()
    teacher.train()
    heal(module, teacher, inputs(2))
    assert module.training
    assert teacher.training
    assert all(torch.equal(value, state[name]) for name, value in teacher.state_dict().items())
    assert module[3].weight.requires_grad
    assert all(p.grad is None for p in [*module.parameters(), *teacher.parameters()])


def test_healing_stops_in_time_and_says_how_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = load_frozen(compressed(tmp_path, "entropy"), network())
    done = heal(module, network(), inputs(), steps=1 << 30, seconds=0.3)
    assert 1 <= done.steps < 1 << 20
    with caplog.at_level(logging.INFO):
        heal(module, network(), inputs(), steps=100)
    assert "distilling: 100 of 100 steps, loss" in caplog.text


def test_healing_tells_what_is_wrong(tmp_path: Path) -> None:
    module, teacher = load_frozen(compressed(tmp_path, "entropy"), network()), network()
    with pytest.raises(ConfigError, match=r"batches is empty.*use typical inputs"):
        heal(module, teacher, [])
    with pytest.raises(ConfigError, match=r"nothing of Sequential is compressed.*load_frozen"):
        heal(network(), teacher, inputs(1))
    with pytest.raises(ConfigError, match=r"nothing of Sequential is pruned: call prune"):
        distil(network(), teacher, inputs(1))
    with pytest.raises(ConfigError, match=r"scale_rate must be positive, not -1"):
        heal(module, teacher, inputs(1), scale_rate=-1)
    with pytest.raises(ConfigError, match=r"seconds must be positive, not 0"):
        heal(module, teacher, inputs(1), seconds=0)
    with pytest.raises(DivergedError, match=r"loss of step 1 is nan: lower rate"):
        heal(module, teacher, [inputs(1)[0], torch.full((2, 48), torch.nan)])
    assert all(torch.isfinite(p).all() for p in module.parameters())
    with pytest.raises(ConfigError, match=r"outputs are no tensors of floats, but int"):
        distance(3, 4)
    plain = tmp_path / "plain.safetensors"
    compress_model(open_plain(plain), tmp_path / "none.safetensors", {})
    with pytest.raises(ConfigError, match=r"no tensor is compressed \(use load\)"):
        load_frozen(tmp_path / "none.safetensors", network())


def test_distance_is_that_of_cosines_and_counts_the_last_output_as_all_others() -> None:
    a, b = (torch.nn.functional.normalize(torch.randn(5, 8), dim=1) for _ in range(2))
    assert float(distance(a, b)) == pytest.approx(2 * float(1 - (a * b).sum(1).mean()))
    far, near = 2 * b, b
    assert float(distance([far, near, a], [b, b, b])) == pytest.approx(
        0.5 + float(distance(a, b)), rel=1e-5
    )
    assert float(distance({"x": (far, None, 3), "y": near}, {"x": (b, None, 3), "y": b})) == 1.0
