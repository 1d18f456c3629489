"""A mapping declared by its words and shapes says the same as its keys one by one."""

from __future__ import annotations

import pytest

from shroff.language.keys import ANY, DURATION, WHOLE, Key, MappingShape, Required, mapping_shape

SHARED = Key("zone", "A zone.", ANY)


def test_words_and_shapes_give_the_keys_that_they_describe():
    class Fence:
        """A fence: it is
        long.

        from: The first day: on it,
            it stands.
            Example: 2027-12-31
            Example: a: b
        lasts: How long.
            Default: 7d,
                or more
        """

        from_ = Required(ANY)
        zone = SHARED
        lasts = DURATION
        more = (Key("last", "A key of several mappings.", WHOLE),)

    assert mapping_shape(Fence) == MappingShape(
        "a fence: it is long",
        (
            Key("from", "The first day: on it, it stands.", ANY, is_required=True, examples=("2027-12-31", "a: b")),
            SHARED,
            Key("lasts", "How long.", DURATION, default="7d, or more"),
            Key("last", "A key of several mappings.", WHOLE),
        ),
    )


@pytest.mark.parametrize(
    ("words", "message"), [("a: It.", "no words on 'b'"), ("a: It.\nb: It.\nc: It.", "no shape of c")]
)
def test_words_and_shapes_of_other_keys_are_refused(words: str, message: str):
    with pytest.raises(ValueError, match=message):
        mapping_shape(type("Fence", (), {"__doc__": f"A fence.\n\n{words}", "a": ANY, "b": ANY}))


@pytest.mark.parametrize(("first", "what"), [("A URL.", "a URL"), ("Quiet hours.", "quiet hours"), ("CSV.", "CSV")])
def test_what_it_is_goes_on_in_a_sentence(first: str, what: str):
    assert mapping_shape(type("Fence", (), {"__doc__": first})).what == what
