"""The user's mapping for Stripe Radar rules: attributes, entities, lists and past charges."""

from __future__ import annotations

from shroff.errors import Problem, nearest
from shroff.json_types import TextDict
from shroff.plugins.loader import YamlMapping, mapping, scalar
from shroff.plugins.loader import read_yaml as read
from shroff.plugins.settings import EXPRESSION, NAME, mapping_shape, own_names
from shroff_plugins.foreign_rules.attributes import ENTITIES, Mapped

_ANY_NAME = r"^\S.{0,199}$"


class _RadarMapping:
    """A mapping of attributes and outcomes.

    attributes: Radar attributes as expressions over the event, its features and the score. Name metadata with its
        colons.
        Example: { is_anonymous_ip: this.ip in lists.proxies, '::Customer Age::': this.customer_age }
    entities: The entity for each of Radar's counts: billing_address, card, card_number, customer, email, ip, ip_address
        and shipping_address.
        Example: { card_number: card, ip_address: address }
    lists: The project's list for a Radar list, if their names differ.
        Example: { email_blocklist: blocked_emails }
    charges: Conditions for an authorized, declined or blocked earlier event, using its type's name.
        Example: { declined: payment.result == 'declined' }
    outcomes: Effects for outcomes of Amazon Fraud Detector: allow, challenge, review or decline.
        Example: { send_to_team: review }
    """

    attributes = own_names("expressions by attribute", EXPRESSION, pattern=_ANY_NAME)
    entities = own_names("entities by their Radar names", NAME)
    lists = own_names("lists by their Radar names", NAME, pattern=_ANY_NAME)
    charges = own_names("conditions by authorized, declined and blocked", EXPRESSION)
    outcomes = own_names("effects by outcome", NAME, pattern=_ANY_NAME)


MAPPING = mapping_shape(_RadarMapping)
CHARGES = ("authorized", "declined", "blocked")


def load_mapping(text: str, file: str, problems: list[Problem]) -> Mapped:
    """Read a mapping, and report its mistakes in `problems`. Its expressions are checked later, when a rule uses
    them.
    """
    root = mapping(read(text, file, problems), problems, file, MAPPING)
    if root is None:
        return Mapped()
    entities = _text_values(root, "entities", problems)
    charges = _text_values(root, "charges", problems)
    for entries, allowed, key_name in ((entities, ENTITIES, "entities"), (charges, CHARGES, "charges")):
        node = root.get(key_name)
        for key, _ in node.entries if isinstance(node, YamlMapping) else ():
            if key.text not in allowed and key.text in entries:
                hint = nearest(key.text, allowed) or f"There is {', '.join(allowed)}."
                key.report(problems, f"{key.text!r} is none of Radar's {key_name}.", hint)
    attributes: TextDict = {}
    for name, expression in _text_values(root, "attributes", problems).items():
        is_metadata = name.startswith("::")  # only names of metadata keep their case
        attributes[name if is_metadata else name.strip(":").lower()] = expression
    return Mapped(
        attributes, entities, _text_values(root, "lists", problems), charges, _text_values(root, "outcomes", problems)
    )


def _text_values(parent: YamlMapping, name: str, problems: list[Problem]) -> TextDict:
    tree = mapping(parent.get(name), problems, name)
    texts = {}
    for key, value in tree.entries if tree else ():
        text = scalar(value, problems, key.text)
        if text is not None:
            texts[key.text] = text.text
    return texts
