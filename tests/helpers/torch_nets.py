# SPDX-License-Identifier: Apache-2.0
"""Small networks of torch, with an input each."""

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn


class Convolutions(nn.Module):
    """Convolutions with normalization, whose buffers pass through."""

    def __init__(self):
        super().__init__()
        self.line = nn.Conv1d(1, 16, 5)
        self.plane = nn.Sequential(nn.Conv2d(16, 32, (1, 3)), nn.BatchNorm2d(32), nn.ReLU())
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        return self.out(self.plane(torch.relu(self.line(x))[:, :, None]).mean((2, 3)))


class Recurrent(nn.Module):
    """Recurrent layers between an embedding and the output that is tied to it."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(96, 48)
        self.lstm = nn.LSTM(48, 64, 2, batch_first=True)
        self.gru = nn.GRU(64, 48, batch_first=True)
        self.out = nn.Linear(48, 96)
        self.out.weight = self.table.weight

    def forward(self, x):
        return self.out(self.gru(self.lstm(self.table(x))[0])[0])


def dense():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(196, 120),
        nn.ReLU(),
        nn.Linear(120, 60),
        nn.ReLU(),
        nn.Linear(60, 10),
    )


NETS = {
    "dense": (dense, lambda: torch.randn(8, 1, 14, 14)),
    "convolutions": (Convolutions, lambda: torch.randn(8, 1, 40)),
    "recurrent": (Recurrent, lambda: torch.randint(0, 96, (4, 11))),
}


def made(name, seed=0):
    """Return a network and an input; equal seeds give equal ones."""
    torch.manual_seed(seed)
    make, inputs = NETS[name]
    return make(), inputs()
