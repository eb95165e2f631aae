# SPDX-License-Identifier: Apache-2.0
"""Store and results of the accuracy laboratory: nothing measured is lost, nothing damaged used."""

import json
from pathlib import Path

import pytest
from xorloom.sim.bench.accuracy import run
from xorloom.sim.bench.accuracy.jobs import Job, jobs
from xorloom.sim.bench.accuracy.store import Store, merged, read_results
from xorloom.sw.base.errors import ConfigError, FormatError

ROW = {"network": "lenet-5", "data": "mnist", "method": "n:m", "budget": 0.26, "epochs": 6}
ROW |= {"seeds": 3, "accuracy": 98.5, "bits_per_weight": 0.25}


def test_outcomes_are_read_as_they_were_added(tmp_path: Path) -> None:
    store = Store(tmp_path / "a" / "outcomes.jsonl")
    assert store.read() == {}
    store.add("one", ROW)
    store.add("two", {"reason": "too few"})
    store.add("one", ROW | {"accuracy": 99})
    assert store.read() == {"one": ROW | {"accuracy": 99}, "two": {"reason": "too few"}}


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"null", b"\xff\xfe", b'{"key": "two", "outcome": {}, "check": "no"}']
)
def test_damaged_lines_are_left_out_and_told(
    damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outcomes.jsonl"
    store = Store(path)
    store.add("one", ROW)
    with path.open("ab") as file:
        file.write(damage)  # and no end of line
    store.add("three", ROW)
    assert set(store.read()) == {"one", "three"}
    told = [record.message for record in caplog.records]
    assert told == ([f"xorloom: {path}: 1 damaged lines left out: measured again"] * bool(damage))


def test_changed_figure_in_the_store_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    Store(path).add("one", ROW)
    path.write_text(path.read_text().replace("98.5", "99.5"))
    assert Store(path).read() == {}


def test_rows_are_merged_into_results(tmp_path: Path) -> None:
    path = tmp_path / "results" / "accuracy.json"
    longer = ROW | {"epochs": 18, "accuracy": 98.7}
    merged(path, [ROW, longer])
    rows = merged(path, [ROW | {"accuracy": 98.6}, ROW | {"data": "fashion-mnist"}])
    assert rows == json.loads(path.read_text()) == read_results(path)
    assert [(row["data"], row["epochs"], row["accuracy"]) for row in rows] == [
        ("fashion-mnist", 6, 98.5),
        ("mnist", 6, 98.6),
        ("mnist", 18, 98.7),
    ]
    assert len(path.read_text().splitlines()) == 5  # a row a line


@pytest.mark.parametrize(("text", "error"), [("{", "no JSON"), ("{}", "must be a list of rows")])
def test_results_that_are_none_are_refused(text: str, error: str, tmp_path: Path) -> None:
    path = tmp_path / "accuracy.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=f"accuracy.json: {error}"):
        merged(path, [ROW])
    assert path.read_text() == text


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Let jobs be measured at once, in this process; return those that were."""
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path))
    monkeypatch.setattr(run, "require", lambda module: None)
    done: list[Job] = []

    def outcome(job: Job) -> dict[str, object]:
        done.append(job)
        return {"reason": "too few"} if job.method == "dense" else ROW | {"method": job.method}

    monkeypatch.setattr(run, "_outcome", outcome)
    return done


def test_stopped_run_goes_on_where_it_was(
    measured: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = jobs(["lenet-5"], ["mnist"], ["trellis", "n:m", "entropy"], [0.26])
    usual = run._outcome

    def stopped(job: Job) -> object:
        if len(measured) == 2:
            raise KeyboardInterrupt
        return usual(job)

    monkeypatch.setattr(run, "_outcome", stopped)
    with pytest.raises(KeyboardInterrupt):
        run.run(asked, lambda line: None, workers=0)
    monkeypatch.setattr(run, "_outcome", usual)
    lines: list[str] = []
    rows, failed = run.run(asked, lines.append, workers=0)
    assert measured == asked
    assert [row["method"] for row in rows] == ["trellis", "n:m", "entropy"]
    assert failed == []
    assert lines[0] == "2 of 3 are measured already"
    assert lines[1].startswith("1 of 1: lenet-5 mnist entropy 0.26: 98.50 at 0.2500")
    assert lines[1].endswith("; 0 min left")


def test_changed_code_is_measured_again(
    measured: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = jobs(["lenet-5"], ["mnist"], ["n:m"], [0.26])
    run.run(asked, lambda line: None, workers=0)
    run.run(asked, lambda line: None, workers=0)
    assert len(measured) == 1
    monkeypatch.setattr(Job, "key", "another")
    run.run(asked, lambda line: None, workers=0)
    assert len(measured) == 2


def test_budget_out_of_reach_gives_no_row_and_is_told(measured: list[Job]) -> None:
    lines: list[str] = []
    asked = jobs(["lenet-5"], ["mnist"], ["dense"], [1.0])
    assert run.run(asked, lines.append, workers=0) == ([], [])
    assert "no row: too few" in lines[-1]
    assert run.run(asked, lines.append, workers=0) == ([], [])
    assert len(measured) == 1


def test_failure_is_told_and_not_kept(measured: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = jobs(["lenet-5"], ["mnist"], ["n:m", "entropy"], [0.26])
    usual = run._outcome
    monkeypatch.setattr(
        run, "_outcome", lambda job: "no memory" if job.method == "n:m" else usual(job)
    )
    rows, failed = run.run(asked, lambda line: None, workers=0)
    assert [row["method"] for row in rows] == ["entropy"]
    assert failed == ["lenet-5 mnist n:m 0.26: no memory"]
    monkeypatch.setattr(run, "_outcome", usual)
    assert len(run.run(asked, lambda line: None, workers=0)[0]) == 2


def test_torch_that_is_missing_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(module: str) -> None:
        raise ConfigError(f"{module} is missing")

    monkeypatch.setattr(run, "require", refused)
    with pytest.raises(ConfigError, match="torch is missing"):
        run.run([], lambda line: None)
