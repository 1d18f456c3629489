"""The quarantine of a log as tests: what was not taken. A part of the contract in `contracts.log`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path

from shroff.streams.log import Batch, Counts, Log
from shroff.testing.contracts.promises import Contract
from shroff.testing.rows import NOW_MS, everything, label, refused


class LogQuarantineContract(Contract):
    """The log contract: the quarantine."""

    @abstractmethod
    def make_log(self, folder: Path) -> Log:
        """Open the log in this folder for writing; a new one where there is none."""

    def test_the_same_refused_bytes_of_one_place_and_type_are_one_entry(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(Batch(refused=[refused(), refused()]))
        others = [refused(place="18"), refused(raw=b""), refused(source="april.csv"), replace(refused(), type="label")]
        log.append(Batch(refused=[*others, refused()]))

        assert [entry for _, entry in log.refused_list()] == [refused(), *others]
        log.close()

    def test_an_entry_that_is_refused_again_has_the_newest_reason(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(Batch(refused=[refused("1"), refused("2")]))
        numbers = log.refused_numbers()
        newest = replace(refused("1"), reason="it is too late", at_ms=NOW_MS + 5)
        log.append(Batch(refused=[replace(newest, reason="between"), newest]))

        assert log.refused_list() == list(zip(numbers, [newest, refused("2")], strict=True))
        log.close()

    def test_entries_are_found_by_their_numbers_and_counted(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(Batch(refused=[refused(str(place)) for place in range(5)]))
        first, *_, last = numbers = log.refused_numbers()
        entries = log.refused_list()

        assert numbers == [number for number, _ in entries]
        assert log.refused([last, 10**6, first, last]) == [entries[0], entries[-1]]
        assert log.refused([]) == []
        assert log.counts() == Counts(5, 0, 0)
        log.append(everything(1))
        log.append(Batch(dropped=[first], waiting=[label("a", "p-1")]))
        assert log.counts() == Counts(4, 2, 1, 1, 1)
        assert log.refused_numbers() == numbers[1:]
        log.close()

    def test_a_number_in_quarantine_never_means_another_entry(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(Batch(refused=[refused("1"), refused("2"), refused("3")]))
        numbers = [number for number, _ in log.refused_list()]

        log.append(Batch(dropped=[numbers[2], numbers[0], 10**6]))
        assert [entry for _, entry in log.refused_list()] == [refused("2")]
        log.append(Batch(refused=[refused("3")]))
        kept, new = (number for number, _ in log.refused_list())
        assert kept == numbers[1]
        assert new > numbers[2]
        log.close()
