"""Read the endpoint of a language model from assistant.yaml, and send a conversation to it.

The endpoint answers `POST URL/chat/completions` as OpenAI's does. Ollama, vLLM and llama.cpp have such an endpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec.json import encode as to_json

from shroff.errors import Problem, RefusalError, TransientError
from shroff.json_types import TextMapping
from shroff.plugins.adapters import System
from shroff.plugins.http import Calls, reason, target_of
from shroff.plugins.loader import AddedFile, FileContext, YamlNode, read_shape
from shroff.plugins.project import filled
from shroff.plugins.settings import ANY, CALLS, HTTP, Required, mapping_shape

if TYPE_CHECKING:
    from shroff.plugins.project import ProjectContext

FILE = "assistant.yaml"
TIMEOUT = "2m"
ANSWER_BYTES_MAX = 256 * 1024
OFF = f"no language model is set: write its url and model into {FILE}"


class _LanguageModel:
    """A language model.

    url: The endpoint of the model; `/chat/completions` is added.
        Example: http://localhost:11434/v1
    model: The name of the model.
        Example: qwen3:14b
    token: The token that the endpoint asks for.
        Example: ${ASSISTANT_TOKEN}
    """

    url = Required(HTTP)
    model = Required(ANY)
    token = ANY
    calls = CALLS


SHAPE = mapping_shape(_LanguageModel)


class NoAnswerError(RefusalError):
    """The assistant has no answer."""

    status = 422
    code = "no-answer"
    title = "The assistant has no answer"


class Message(msgspec.Struct):
    """A message of the model."""

    content: str


class Choice(msgspec.Struct):
    """One of its answers."""

    message: Message


class Completion(msgspec.Struct):
    """An endpoint's answer."""

    choices: list[Choice]


def ask(context: ProjectContext, settings: TextMapping | None, system: str, said: Sequence[str]) -> str:
    """Return the model's next message in a conversation.

    Args:
        context: The project, which finds the system's options.
        settings: Settings of assistant.yaml; None if there is no such file.
        system: Instructions to the model.
        said: Messages of the user and the model in turn; the user's is the first.

    Raises: NoAnswerError if no model is set, or its endpoint refuses; TransientError if it does not answer.
    """
    if not settings:
        raise NoAnswerError(OFF)
    own = {name: filled(text, name, FILE) for name, text in {"timeout": TIMEOUT, **settings}.items()}
    options = context.systems.called(System("assistant", own), context.paths.folder).options
    at = urlsplit(f"{options['url'].rstrip('/')}/chat/completions")
    turns = [{"role": "assistant" if turn % 2 else "user", "content": text} for turn, text in enumerate(said)]
    messages = [{"role": "system", "content": system}, *turns]
    headers = {"Content-Type": "application/json"}
    if "token" in options:
        headers["Authorization"] = f"Bearer {options['token']}"
    client = Calls.of(options).client(at.scheme, at.hostname or "", at.port, answer_bytes_max=ANSWER_BYTES_MAX)
    with closing(client):
        try:
            body = to_json({"model": options["model"], "temperature": 0, "messages": messages})
            found = client.call("POST", target_of(at), body, headers)
        except OSError as error:
            raise TransientError(f"the language model at {at.hostname} does not answer: {reason(error)}") from None
    if found.status != 200:
        raise NoAnswerError(f"the language model at {at.hostname} answers with status {found.status}; look at {FILE}")
    try:
        return msgspec.json.decode(found.body, type=Completion).choices[0].message.content
    except (msgspec.DecodeError, IndexError):
        raise NoAnswerError(f"what {at.hostname} answers is no chat completion; look at `url` in {FILE}") from None


def load(node: YamlNode | None, context: FileContext, problems: list[Problem]) -> TextMapping:
    """Return the settings of the file, in which references to environment variables are not replaced yet."""
    found: Any = None if node is None else read_shape(node, SHAPE, problems, FILE)
    return found or {}


ASSISTANT_FILE = AddedFile("assistant", FILE, "The language model that drafts rules and sums up cases.", SHAPE, load)
