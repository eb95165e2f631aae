# SPDX-License-Identifier: Apache-2.0
"""State dicts through save and load."""

import pytest
from xorloom.sw import load, open_file, save
from xorloom.sw.base.errors import ConfigError

torch = pytest.importorskip("torch")


def test_state_dict_comes_back_as_tensors_of_torch_with_its_ties(tmp_path):
    weight = torch.randn(96, 128, generator=torch.Generator().manual_seed(1)).bfloat16()
    state = {
        "a": weight,
        "b": weight,
        "bias": torch.arange(5.0),
        "half": torch.randn(80, 64).half(),
    }
    save(state, tmp_path / "m.xl.safetensors", bits_per_weight=2, exclude=["half"])
    found = load(tmp_path / "m.xl.safetensors", "pt")
    assert list(found) == ["a", "bias", "half", "b"]
    assert found["a"] is found["b"]
    assert found["a"].dtype == torch.bfloat16
    error = (found["a"] - weight).float().square().sum() / weight.float().square().sum()
    assert 0.01 < error < 0.15
    assert torch.equal(found["bias"], state["bias"])
    assert torch.equal(found["half"], state["half"])
    arrays = open_file(tmp_path / "m.xl.safetensors")
    assert arrays["b"].tobytes() == found["b"].view(torch.uint8).numpy().tobytes()


def test_arrays_beside_tensors_of_torch_are_refused(tmp_path):
    state = {"a": torch.zeros(80, 80), "b": torch.zeros(3).numpy()}
    with pytest.raises(ConfigError, match=r"or all tensors of torch: a$"):
        save(state, tmp_path / "m")
