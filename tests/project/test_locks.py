# SPDX-License-Identifier: Apache-2.0
"""Lock files: wheels only, for every package, also on a stock Debian 12; checked offline."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from tests.helpers.paths import ROOT

LOCKS = ROOT / "locks"
GROUPS = sorted(path.stem for path in LOCKS.glob("*.lock"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
PYTHONS = [(3, 11), (3, 12), (3, 13)]


def environment(python):
    version = ".".join(map(str, python))
    return {"python_version": version, "python_full_version": f"{version}.2", "extra": ""}


def supported(python):
    """Tags that pip takes on Debian 12 (glibc 2.36), which pip 23.0.1 knows of too."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)]
    platforms += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    abi = f"cp{python[0]}{python[1]}"
    exact = cpython_tags(python, abis=[abi], platforms=platforms)
    return set(chain(exact, compatible_tags(python, abi, platforms)))


def lines(group):
    """Return the requirements and options of a lock with those that it builds on."""
    text = (LOCKS / f"{group}.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("-r "):
            yield from lines(line.removeprefix("-r ").removesuffix(".lock"))
        else:
            yield line


def pins(group, python=PYTHONS[0]):
    """Return (requirement, hashes) by name, of what pip installs on a version of Python."""
    found = {}
    for line in set(lines(group)):
        words = re.split(r"\s+--hash=sha256:", line.strip())
        requirement = Requirement(words[0])
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            assert requirement.name not in found, f"{group}: {requirement.name} is there twice"
            found[requirement.name] = requirement, words[1:]
    return found


def recorded():
    rows = (LOCKS / "wheels.sha256").read_text(encoding="utf-8").splitlines()
    return dict(row.split("  ") for row in rows)


def test_every_extra_but_torch_has_a_lock():
    assert set(GROUPS) == {"default", *EXTRAS} - {"torch"}


@pytest.mark.parametrize("name", [f"{group}.lock" for group in GROUPS] + ["wheels.sha256"])
def test_lock_names_no_index(name):
    text = (LOCKS / name).read_text(encoding="utf-8")
    assert not re.search(r"://|\bindex|find-links", text)


@pytest.mark.parametrize("group", GROUPS)
def test_lock_pins_every_requirement_with_a_hash(group):
    found = list(lines(group))
    assert len(found) > 30
    pin = r"[a-z0-9-]+==[\w.]+( ; [^\\#]+?)?( +--hash=sha256:[0-9a-f]{64})+"
    assert [line for line in found if not re.fullmatch(pin, line)] == []


@pytest.mark.parametrize("group", GROUPS)
def test_lock_has_hashes_of_wheels_only(group):
    wheels = recorded()
    assert all(name.endswith(".whl") for name in wheels.values())
    hashes = [value for line in lines(group) for value in re.findall("sha256:([0-9a-f]+)", line)]
    assert len(hashes) > 100
    assert set(hashes) <= set(wheels)


@pytest.mark.parametrize("python", PYTHONS, ids=lambda p: ".".join(map(str, p)))
@pytest.mark.parametrize("group", GROUPS)
def test_lock_has_a_wheel_that_pip_takes(group, python):
    wheels, tags, without = recorded(), supported(python), []
    for requirement, hashes in pins(group, python).values():
        files = [parse_wheel_filename(wheels[value]) for value in hashes]
        if not any(
            name == canonicalize_name(requirement.name)
            and requirement.specifier.contains(version, prereleases=True)
            and tagged & tags
            for name, version, _, tagged in files
        ):
            without.append(str(requirement))
    assert without == []


@pytest.mark.parametrize("group", GROUPS)
def test_lock_holds_what_the_project_asks_for(group):
    found = pins(group)
    wanted = PROJECT["project"]["dependencies"] + PROJECT["build-system"]["requires"]
    wanted += EXTRAS.get(group, [])
    wanted = [Requirement(text) for text in wanted]
    assert len(wanted) > 15
    for requirement in wanted:
        if requirement.name == "xorloom":
            assert set(pins(group)) >= {n for extra in requirement.extras for n in pins(extra)}
        else:
            (pin,) = found[canonicalize_name(requirement.name)][0].specifier
            assert requirement.specifier.contains(pin.version, prereleases=True), requirement


@pytest.mark.parametrize("group", GROUPS)
def test_lock_is_complete(group):
    """What a locked package depends on is in the lock: pip looks nothing up that has no hash."""
    found, missing = pins(group), set()
    queue = [(name, "") for name in found]
    for name, extra in queue:
        try:
            needs = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            pytest.skip(f"{name} is not installed: make setup-{group}")
        where = environment(PYTHONS[0]) | {"extra": extra}
        for need in needs:
            if need.marker is None or need.marker.evaluate(where):
                own = canonicalize_name(need.name)
                missing |= {own} - set(found)
                queue += [(own, e) for e in need.extras if (own, e) not in queue]
    assert missing == set()
