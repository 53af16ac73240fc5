"""Rounds of the benchmarks: all in each, shuffled, and again where it was not quiet."""

from __future__ import annotations

from bench.outcomes import Measurement
from bench.rounds import in_rounds


class Machine:
    """Measures names one after the other; some of them are noisy for a while."""

    def __init__(self, **noisy: int) -> None:
        self.noisy, self.order = noisy, list[str]()

    def measure(self, name: str) -> Measurement:
        self.order.append(name)
        self.noisy[name] = self.noisy.get(name, 0) - 1
        return Measurement(1.0, None, 2.0 if self.noisy[name] >= 0 else 0.0)


def rounds(machine: Machine, names: str, wanted: int, retries: int) -> dict[str, list[Measurement]]:
    measures = {name: lambda name=name: machine.measure(name) for name in names}
    return in_rounds(measures, wanted, retries, lambda _words: None)


def test_all_are_measured_in_each_round_in_changing_orders() -> None:
    machine = Machine()
    taken = rounds(machine, "abcd", 6, 2)
    assert {name: len(each) for name, each in taken.items()} == dict.fromkeys("abcd", 6)
    orders = ["".join(machine.order[at : at + 4]) for at in range(0, 24, 4)]
    assert {"".join(sorted(order)) for order in orders} == {"abcd"}
    assert len(set(orders)) > 3


def test_what_was_noisy_is_measured_again_and_nothing_else() -> None:
    taken = rounds(Machine(b=2), "ab", 3, 3)
    assert [one.quiet for one in taken["a"]] == [True] * 3
    assert [one.quiet for one in taken["b"]] == [False, False, True, True, True]


def test_retries_end() -> None:
    taken = rounds(Machine(a=100), "ab", 3, 2)
    assert (len(taken["a"]), len(taken["b"])) == (5, 3)
    assert not any(one.quiet for one in taken["a"])
