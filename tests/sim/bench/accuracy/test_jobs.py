# SPDX-License-Identifier: Apache-2.0
"""Jobs of the accuracy laboratory: which there are, what they depend on, how long they take."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from xorloom.sim.bench.accuracy import jobs as engine
from xorloom.sim.bench.accuracy import run as running
from xorloom.sim.bench.accuracy.jobs import Job, dense_key, jobs
from xorloom.sim.bench.accuracy.methods import METHODS, pattern_bits, plan_at
from xorloom.sim.bench.accuracy.networks import BUDGETS, NETWORKS
from xorloom.sim.bench.accuracy.run import estimate
from xorloom.sim.bench.accuracy.store import Store
from xorloom.sw.base.errors import ConfigError, ToolError
from xorloom.sw.torch.plan import LayerPlan

from tests.helpers.cli import refuses, xorloom

JOB = Job("lenet-300-100", "mnist", "trellis", 0.26, 6, 3)


def test_whole_laboratory_takes_less_than_two_hours_and_a_network_half_of_one() -> None:
    assert estimate(jobs()) < 2 * 3600
    for name, network in NETWORKS.items():
        for data in network.budgets:
            assert estimate(jobs([name], [data])) < 30 * 60, (name, data)


def test_all_methods_and_budgets_are_measured() -> None:
    own = jobs(["lenet-300-100"], ["mnist"])
    assert {job.budget for job in own} == set(BUDGETS) == {0.05, 0.1, 0.17, 0.26, 0.4, 0.55, 1.0}
    assert {job.method for job in own} == {name for name in METHODS if METHODS[name].usual}
    assert {job.budget for job in own if job.method == "dense"} == {1.0}
    assert {job.seeds for job in jobs() if job.network != "minilm-l6"} == {3}


def test_longer_training_is_another_job() -> None:
    (usual,) = jobs(["resnet"], (), ["trellis"], [0.26])
    (longer,) = jobs(["resnet"], (), ["trellis"], [0.26], epochs="3x")
    (given,) = jobs(["resnet"], (), ["trellis"], [0.26], epochs="7")
    assert (longer.epochs, given.epochs) == (3 * usual.epochs, 7)
    assert longer.key != usual.key
    assert longer.seconds > 2 * usual.seconds


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["--network", "alexnet"],
            "network must be one of lenet-300-100, lenet-5, resnet, lstm, minilm-l6",
        ),
        (["--data", "cifar"], "data must be one of mnist, fashion-mnist, moby-dick, not 'cifar'"),
        (["--method", "csr"], "method must be one of paper, trellis, "),
        (["--network", "lstm", "--data", "mnist"], "no network is measured so"),
        (["--budget", "0"], "budget must be above 0 and at most 8 bits per weight, not 0"),
        (["--budget", "nan"], "budget must be above 0 and at most 8 bits per weight, not nan"),
        (["--epochs", "x"], "epochs must be a number such as 12, or 3x, not 'x'"),
        (["--epochs", "0"], "epochs must be a number such as 12, or 3x, not '0'"),
        (["--quick", "-o", "x.json"], "--quick makes no results to keep: leave -o or --quick out"),
    ],
)
def test_wrong_words_are_refused(words: list[str], text: str) -> None:
    refuses(text, "bench", "accuracy", *words)


def test_dry_run_prints_what_there_is_to_do_and_measures_nothing() -> None:
    out, err = xorloom("bench", "accuracy", "--dry-run", "--json")
    rows = json.loads(out)
    assert {(row["network"], row["data"]) for row in rows} == {
        (name, data) for name, network in NETWORKS.items() for data in network.budgets
    }
    total = estimate(jobs()) / 60
    assert f"{len(jobs())} jobs, {total:.0f} min on 2 idle cores" in err
    assert sum(row["minutes"] for row in rows) == pytest.approx(total, rel=0.01)


def test_key_depends_on_code_and_job_but_not_on_comments(tmp_path: Path) -> None:
    same = Job(**vars(JOB))
    assert same.key == JOB.key
    assert JOB.key not in {
        replace(JOB, **{name: value}).key
        for name, value in (("budget", 0.1), ("epochs", 7), ("seeds", 4), ("method", "hashed"))
    }
    files = [tmp_path / f"{at}.py" for at in range(3)]
    files[0].write_text('"""A."""\ndef f(x):\n    """B."""\n    return x + 1\n')
    files[1].write_text('"""C."""\n# D\ndef f(x):\n    return (x + 1)  # E\n')
    files[2].write_text('"""A."""\ndef f(x):\n    """B."""\n    return x + 2\n')
    meanings = [engine._meaning(path) for path in files]
    assert meanings[0] == meanings[1] != meanings[2]
    parts = [engine._meaning(files[2], names) for names in (("f",), ("g",))]
    assert parts[0] != parts[1]
    assert dense_key("lstm", "moby-dick", quick=False) != dense_key("lstm", "moby-dick", quick=True)


def test_code_of_another_network_or_coding_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    real, changed = engine._meaning, "language.py"
    monkeypatch.setattr(
        engine,
        "_meaning",
        lambda path, names=(): "other" if path.name == changed else real(path, names),
    )
    text = Job("lstm", "moby-dick", "trellis", 0.26, 6, 3)
    before = JOB.key, text.key
    changed = "none"
    assert JOB.key == before[0]
    assert text.key != before[1]
    changed = "masked.py"
    assert JOB.key != before[0]
    changed = "run.py"
    assert JOB.key == before[0]
    encoder = Job("minilm-l6", "moby-dick", "dense", 1.06, 8, 1)
    kept = encoder.key
    changed = "distil.py"
    assert JOB.key == before[0]
    assert encoder.key != kept


def test_pattern_is_counted_as_hardware_stores_it() -> None:
    """2:4 of 8 rows of 10: 3 groups a row, the last one as if whole; C(4, 2) = 6 takes 3 bits."""
    plan = LayerPlan(mask="n:m", pattern=(2, 4))
    assert pattern_bits((8, 10), plan) == 8 * 3 * (2 + 3) + 16
    assert pattern_bits((8, 46), LayerPlan(mask="n:m", pattern=(1, 23))) == 8 * 2 * (1 + 5) + 16


@pytest.mark.parametrize("budget", [0.05, 0.26, 0.55])
def test_pattern_uses_the_budget_and_does_not_exceed_it(budget: float) -> None:
    plan = plan_at(METHODS["n:m"], [(300, 784)], budget, None)
    assert 0.9 * budget < pattern_bits((300, 784), plan) / (300 * 784) <= budget


def test_pattern_below_the_least_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0.001 bits per weight are too few"):
        plan_at(METHODS["n:m"], [(300, 784)], 0.001, None)


def test_embeddings_have_a_table_of_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    kept = Store(tmp_path / "outcomes.jsonl")
    monkeypatch.setattr(running, "store", lambda: kept)
    (job,) = jobs(["minilm-l6"], methods=["dense"], budgets=[1.06])
    ranks = {"rank_correlation": 0.811, "wordsim353": 0.622, "simlex999": 0.433}
    dense = {"dense_accuracy": 1.0, "dense_wordsim353": 0.729, "dense_simlex999": 0.446}
    own = {"metric": "cosine", "accuracy": 0.8642, "accuracy_std": None, "bits_per_weight": 1.05}
    kept.add(job.key, vars(job) | own | ranks | dense)
    words = ["--network", "minilm-l6", "--method", "dense", "--budget", "1.06"]
    out, _ = xorloom("bench", "accuracy", *words)
    lines = [line.split() for line in out.splitlines()]
    assert ["dense", "0.864"] in lines
    assert ["dense", "1.06", "0.811", "0.622", "0.433"] in lines
    assert ["not", "compressed", "-", "1.000", "0.729", "0.446"] in lines


def test_what_reads_sentences_is_missed_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "store", lambda: Store(tmp_path / "outcomes.jsonl"))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ToolError, match=r"^tokenizers is not installed: make setup EXTRAS="):
        running.run(jobs(["lenet-300-100", "minilm-l6"]), print)
    assert not list(tmp_path.iterdir())
