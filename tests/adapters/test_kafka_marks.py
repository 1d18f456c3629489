"""What an offset of Kafka is kept with, as text and back."""

from __future__ import annotations

import pytest

from shroff.adapters.sources.kafka_marks import NO_EPOCH, Epochs, KafkaMark
from shroff.errors import StateError
from shroff.streams.source import shown

ID = "bGx1mZ3oTnOq0Yk2b1-_7g"


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("0", KafkaMark(0)),
        ("4711", KafkaMark(4711)),
        (f"4711@{ID}", KafkaMark(4711, ID)),
        (f"4711@{ID}.12", KafkaMark(4711, ID, 12)),
        (f"4711@{ID}.0", KafkaMark(4711, ID, 0)),
        ("4711~-5,,1772366400000", KafkaMark(4711, before="-5,,1772366400000")),
        (f"4711@{ID}.0~7", KafkaMark(4711, ID, 0, "7")),
    ],
)
def test_a_mark_is_read_as_it_was_written_and_shown_as_a_number(text, mark):
    assert KafkaMark.parse("payments/0", text) == mark
    assert str(mark) == text
    assert shown(text) == str(mark.offset)


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "4711@", "4711@short", f"4711@{ID}.", f"4711@{ID}.x", "٣", "4711\n", "~7"]
)
def test_what_is_none_is_refused(text):
    with pytest.raises(StateError, match="is not an offset of payments/0, as 4711 would be"):
        KafkaMark.parse("payments/0", text)


def test_a_mark_without_an_id_may_be_of_any_topic_and_one_with_an_id_of_that_alone():
    assert KafkaMark(1).is_of(ID)
    assert KafkaMark(1, ID).is_of("")
    assert KafkaMark(1, ID).is_of(ID)
    assert not KafkaMark(1, ID).is_of("x" * 22)


def test_each_message_has_the_epoch_of_the_leader_that_gave_it():
    epochs = Epochs()
    for offset, epoch in ((10, 3), (11, 3), (14, 5), (15, None), (16, 7)):
        epochs.came(offset, epoch)

    assert [epochs.of(offset) for offset in (9, 10, 13, 14, 15, 16, 99)] == [NO_EPOCH, 3, 3, 5, NO_EPOCH, 7, 7]
