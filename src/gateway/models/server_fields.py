"""Fields that servers of OpenAI's dialect take beside OpenAI's own: how they sample, think, and write JSON.

They go as they stand to rows of type ``openai_compatible``; every other provider refuses them by name. Not among
them is what would let a provider choose another model, another price, or more answers than were asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

SERVER_FIELDS = frozenset(
    # sampling: vLLM, llama.cpp, SGLang, Together, OpenRouter, Mistral
    {"top_k", "min_p", "top_a", "typical_p", "repetition_penalty", "length_penalty", "min_tokens", "ignore_eos"}
    | {"stop_token_ids", "bad_words", "include_stop_str_in_output", "skip_special_tokens", "random_seed"}
    | {"mirostat", "mirostat_tau", "mirostat_eta", "dry_multiplier", "dry_base", "dry_allowed_length"}
    | {"xtc_probability", "xtc_threshold", "samplers", "cache_prompt", "truncate_prompt_tokens"}
    # how the prompt is put together
    | {"chat_template_kwargs", "add_generation_prompt", "continue_final_message", "mm_processor_kwargs"}
    | {"safe_prompt", "prompt_mode"}
    # thinking: Qwen, DeepSeek, OpenRouter, Groq, Ollama
    | {"enable_thinking", "thinking", "thinking_budget", "reasoning", "include_reasoning", "reasoning_format", "think"}
    # the form of the answer
    | {"guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar", "json_schema"}
)


def parts_of(native_only: Iterable[str]) -> tuple[str, ...]:
    """Of what only a caller's own body has (``Chat.native_only``), that which adds to the question or the answer."""
    return tuple(name for name in native_only if name not in SERVER_FIELDS)
