"""Limits of a process are those of its control group and of all above."""

import platform

import numpy as np
import pytest

from gfnode import machine
from processes import python

GB = 10**9


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The root of control groups, and a process in one two levels below."""
    (tmp_path / "job" / "step").mkdir(parents=True)
    own = tmp_path / "self"
    own.write_text("4:memory:/other\n0::/job/step\n")
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "OWN", own)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    return tmp_path


def limit(group, cpu, memory, used):
    (group / "cpu.max").write_text(f"{cpu} 100000\n")
    (group / "memory.max").write_text(f"{memory}\n")
    (group / "memory.stat").write_text(f"anon {used}\nfile 5\n")


@pytest.mark.parametrize("tight", ["", "job", "job/step"])
def test_the_tightest_counts_wherever_it_is(root, tight):
    for group in (root, root / "job", root / "job" / "step"):
        limit(group, "max", "max", 7)
    assert machine.cores() == 64
    assert machine._tightest(machine._memory) == np.inf
    limit(root / "job", 900_000, GB, 0)
    limit(root / tight, 250_000, GB // 2, GB // 8)
    assert machine.cores() == 2
    assert machine.available() == GB // 2 - GB // 8


def test_a_share_of_one_processor_is_one(root):
    limit(root / "job", 50_000, "max", 0)
    assert machine.cores() == 1


def test_what_is_full_has_no_room(root):
    limit(root / "job", "max", GB, 2 * GB)
    assert machine.available() == 0


@pytest.mark.parametrize("own", ["0::/\n", "0::/of/the/host\n", "4:memory:/other\n", "", None])
def test_the_root_counts_where_the_own_group_is_not_seen(root, own):
    limit(root, 300_000, GB, 0)
    if own is None:
        machine.OWN.unlink()
    else:
        machine.OWN.write_text(own)
    assert (machine.cores(), machine.available()) == (3, GB)


FAULTS = """
import resource, torch
from gfnode.machine import memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(2**27, dtype=torch.uint8)[::4096] = 1  # NumPy's pages are larger
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with memory_kept():
    kept = min(faults() for _ in range(30))  # a hole of that very size may be too small
print(kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="that is of this allocator")
def test_memory_is_filled_with_zeros_once_and_given_back():
    kept, given_back = map(int, python("-c", FAULTS).stdout.split())
    assert kept < 100
    assert given_back > 10_000


def test_memory_elsewhere_is_left_alone(monkeypatch):
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda _: object())
    with machine.memory_kept():
        pass
