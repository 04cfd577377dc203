"""What clients may send: the OpenAI protocol's requests, with vLLM's names for what it lacks.

Fields that nothing here knows are ignored, as servers of this protocol do; those that would change the
answer and cannot be honoured are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.inference.engine.requests import RequestRefused

Body = dict[str, Any]
INSTEAD = {
    "functions": "tools",
    "function_call": "tool_choice",
    "guided_json": "response_format",
    "guided_regex": "response_format",
    "guided_choice": "response_format",
    "guided_grammar": "response_format",
    "structured_outputs": "response_format",
    "json_schema": "response_format",
    "grammar": "response_format",
    "use_beam_search": "n",
    "modalities": "messages",
}
"""Fields of older versions and other servers that would change the answer, and what there is instead."""
Kind = TypeVar("Kind", bound=BaseModel)


class Part(BaseModel):
    """One part of a request; unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore")


class StreamOptions(Part):
    """What a stream tells besides its text."""

    include_usage: bool | None = None


class SamplingFields(Part):
    """What chats and completions have in common."""

    model: str | None = None
    soft_prompt: Annotated[str, Field(min_length=1)] | None = None
    """One of `/v1/soft_prompts`; `model` may name it, too, as MODEL:NAME."""
    n: Annotated[int, Field(ge=1, le=1024)] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    logit_bias: dict[str, float] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    min_tokens: Annotated[int, Field(ge=0)] = 0
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    user: str | None = None


class JsonSchema(Part):
    """A named JSON schema."""

    name: str = "answer"
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Part):
    """What shape the answer has to have; `grammar` is Lark as llguidance reads it."""

    type: Literal["text", "json_object", "json_schema", "grammar", "regex"] = "text"
    json_schema: JsonSchema | None = None
    grammar: str | None = None
    regex: str | None = None


class Function(Part):
    """A function that may be called."""

    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Part):
    """An entry of `tools`."""

    type: Literal["function"] = "function"
    function: Function


class NamedFunction(Part):
    """The name in a `tool_choice`."""

    name: str


class NamedTool(Part):
    """A `tool_choice` of one function."""

    type: Literal["function"] = "function"
    function: NamedFunction


class ChatRequest(SamplingFields):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Body], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool = True
    response_format: ResponseFormat | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: Body | None = None


class CompletionRequest(SamplingFields):
    """`POST /v1/completions`."""

    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool = False
    suffix: str | None = None
    best_of: int | None = None
    response_format: ResponseFormat | None = None
    add_special_tokens: bool = True


class EmbeddingRequest(Part):
    """`POST /v1/embeddings`."""

    model: str | None = None
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


class TextsRequest(Part):
    """`POST /v1/fill-mask` and `/v1/classify`."""

    model: str | None = None
    input: str | list[str]
    top_k: Annotated[int, Field(ge=1, le=1000)] = 5


class ScoreRequest(Part):
    """`POST /v1/score`: answers to a prompt, which is text or messages; vLLM's names for two texts too."""

    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[Any] | None = None
    completions: Annotated[list[str | list[dict[str, Any]]], Field(max_length=1024)] | None = None
    text_1: str | None = None
    text_2: str | list[str] | None = None


class TokenizeRequest(Part):
    """`POST /tokenize`, with a text or with a chat."""

    model: str | None = None
    soft_prompt: Annotated[str, Field(min_length=1)] | None = None
    prompt: str | None = None
    messages: list[Body] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool = True
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    return_token_strs: bool = False
    chat_template_kwargs: Body | None = None


class DetokenizeRequest(Part):
    """`POST /detokenize`."""

    model: str | None = None
    tokens: list[int]


def parse(kind: type[Kind], body: object) -> Kind:
    """A request of a kind from decoded JSON; a field that is null is as good as not there.

    Raises `RequestRefused` naming the field.
    """
    if not isinstance(body, dict):
        raise RequestRefused("the request is not a JSON object")
    given = {name: value for name, value in body.items() if value is not None}
    for name, instead in INSTEAD.items():
        if given.get(name) not in (None, False, [], ["text"]) and name not in kind.model_fields:
            raise RequestRefused(f"{name} is not supported", where=name, hint=f"use {instead}")
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        # Of a union, the complaint that lies deepest is about what the client meant.
        worst = max(error.errors(include_url=False), key=lambda entry: len(entry["loc"]))
        where = ".".join(str(part) for part in worst["loc"])
        raise RequestRefused(f"{where}: {worst['msg']}", where=where) from None
