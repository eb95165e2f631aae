# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from xorloom.sim.embeddings.encoder import SentenceEncoder
from xorloom.sw.base.errors import ConfigError

from tests.helpers.bert import bert_tensors

torch = pytest.importorskip("torch")

from xorloom.sim.embeddings.torch_encoder import batches_of, padded, torch_encoder  # noqa: E402

WIDTH, HEADS = 24, 3
SENTENCES = [[1, 5, 2], [1, 2], [1, 7, 8, 9, 3, 4, 2], [1, 6, 6, 2]]


def checkpoint() -> dict[str, np.ndarray]:
    return bert_tensors(WIDTH, 40, 2, 11)


def test_torch_encoder_is_the_encoder_of_numpy() -> None:
    tensors = checkpoint()
    reference = SentenceEncoder(tensors, HEADS).embed(SENTENCES)
    encoder = torch_encoder(tensors | {"classifier.weight": np.zeros((2, 2))}, HEADS)
    for batch in (1, 3, 64):
        assert np.abs(encoder.embed(SENTENCES, batch) - reference).max() < 1e-5
    assert set(encoder.state_dict()) == set(tensors)


def test_torch_encoder_keeps_all_of_a_checkpoint() -> None:
    tensors = checkpoint() | {
        "pooler.dense.weight": np.ones((WIDTH, WIDTH), np.float32),
        "pooler.dense.bias": np.ones(WIDTH, np.float32),
        "embeddings.position_ids": np.arange(16)[None],
    }
    state = torch_encoder(tensors, HEADS).state_dict()
    assert state.keys() == tensors.keys()
    for name, data in tensors.items():
        assert np.array_equal(state[name].numpy(), data)
        assert state[name].numpy().dtype == data.dtype


def test_torch_encoder_gives_hidden_states_without_padding() -> None:
    tensors = checkpoint()
    *hidden, embeddings = torch_encoder(tensors, HEADS)(*padded(SENTENCES))
    assert [h.shape for h in hidden] == [(4, 7, WIDTH)] * 2
    assert embeddings.shape == (4, WIDTH)
    assert not hidden[0][1, 2:].any()
    assert not hidden[1][0, 3:].any()
    alone = torch_encoder(tensors, HEADS)(*padded(SENTENCES[1:2]))
    assert torch.allclose(hidden[0][1, :2], alone[0][0], atol=1e-5)


def test_torch_encoder_copies_and_can_be_trained() -> None:
    tensors = checkpoint()
    before = {name: data.copy() for name, data in tensors.items()}
    encoder = torch_encoder(tensors, HEADS)
    encoder(*padded(SENTENCES))[-1][:, 0].sum().backward()
    torch.optim.SGD(encoder.parameters(), 1.0).step()
    assert all(np.array_equal(tensors[name], data) for name, data in before.items())
    changed = encoder.state_dict()["encoder.layer.0.output.dense.weight"].numpy()
    assert not np.array_equal(changed, before["encoder.layer.0.output.dense.weight"])


def test_torch_encoder_tells_what_is_wrong() -> None:
    tensors = checkpoint()
    with pytest.raises(ConfigError, match="heads must divide the width of 24, not be 5"):
        torch_encoder(tensors, 5)
    name = "encoder.layer.1.output.dense.bias"
    with pytest.raises(ConfigError, match=f"{name} is missing: a BERT checkpoint has it"):
        torch_encoder({key: data for key, data in tensors.items() if key != name}, HEADS)
    name = "embeddings.word_embeddings.weight"
    with pytest.raises(ConfigError, match=f"{name} is missing: a BERT checkpoint has it"):
        torch_encoder({key: data for key, data in tensors.items() if key != name}, HEADS)


def test_batches_have_every_sentence_once_in_an_order_of_the_seed() -> None:
    sentences = [[1] * (2 + k % 5) + [k] for k in range(20)]
    found = [list(batches_of(sentences, 3, seed)) for seed in (0, 0, 1)]
    for batches in found:
        last = [int(ids[i, n - 1]) for ids, lengths in batches for i, n in enumerate(lengths)]
        assert sorted(last) == list(range(20))
        assert all(int(lengths.max() - lengths.min()) <= 1 for _, lengths in batches)
    firsts = [[int(ids[0].sum()) for ids, _ in batches] for batches in found]
    assert firsts[0] == firsts[1] != firsts[2]
