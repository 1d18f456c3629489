"""What an offset of Kafka is kept with, as text and back."""

from __future__ import annotations

import pytest

from shroff.adapters.sources.kafka_offsets import NO_EPOCH, Epochs, PartitionOffset
from shroff.errors import StateError
from shroff.streams.source import shown

ID = "bGx1mZ3oTnOq0Yk2b1-_7g"


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("0", PartitionOffset(0)),
        ("4711", PartitionOffset(4711)),
        (f"4711@{ID}", PartitionOffset(4711, ID)),
        (f"4711@{ID}.12", PartitionOffset(4711, ID, 12)),
        (f"4711@{ID}.0", PartitionOffset(4711, ID, 0)),
        ("4711~-5,,1772366400000", PartitionOffset(4711, before="-5,,1772366400000")),
        (f"4711@{ID}.0~7", PartitionOffset(4711, ID, 0, "7")),
    ],
)
def test_an_offset_is_read_as_it_was_written_and_shown_as_a_number(text, offset):
    assert PartitionOffset.parse("payments/0", text) == offset
    assert str(offset) == text
    assert shown(text) == str(offset.offset)


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "4711@", "4711@short", f"4711@{ID}.", f"4711@{ID}.x", "٣", "4711\n", "~7"]
)
def test_what_is_none_is_refused(text):
    with pytest.raises(StateError, match="is not an offset of payments/0, as 4711 would be"):
        PartitionOffset.parse("payments/0", text)


def test_a_mark_without_an_id_may_be_of_any_topic_and_one_with_an_id_of_that_alone():
    assert PartitionOffset(1).is_of(ID)
    assert PartitionOffset(1, ID).is_of("")
    assert PartitionOffset(1, ID).is_of(ID)
    assert not PartitionOffset(1, ID).is_of("x" * 22)


def test_each_message_has_the_epoch_of_the_leader_that_gave_it():
    epochs = Epochs()
    for offset, epoch in ((10, 3), (11, 3), (14, 5), (15, None), (16, 7)):
        epochs.came(offset, epoch)

    assert [epochs.of(offset) for offset in (9, 10, 13, 14, 15, 16, 99)] == [NO_EPOCH, 3, 3, 5, NO_EPOCH, 7, 7]
