"""A journal that cannot be written: no call is made, and whoever looks is told why."""

from __future__ import annotations

from pathlib import Path

from fixtures.house import running_house
from fixtures.upstream import answer, openai_answer

BODY = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}]}


def test_no_paid_call_is_made_and_readyz_says_why(tmp_path: Path) -> None:
    with running_house(tmp_path) as house:
        house.upstream.play(answer(openai_answer()))
        folder = house.core.settings.data_dir / "journal"
        folder.write_text("in the way")
        ready = house.ask("GET", "/readyz")
        assert ready.status == 503
        assert "journal of calls cannot be written" in ready.body["parts"]["journal"]
        assert ready.body["parts"]["database"] == "ok"
        for path, body in (("/v1/chat/completions", BODY), ("/v1/messages", {**BODY, "max_tokens": 9})):
            refused = house.ask("POST", path, body)
            assert refused.status == 503, refused.body
            assert "journal of calls cannot be written" in refused.body["error"]["message"]
        assert house.upstream.sent == []
        assert house.ask("GET", "/usage/entries").body["entries"] == []
        folder.unlink()
        assert house.ask("POST", "/v1/chat/completions", BODY).status == 200
        assert house.ask("GET", "/readyz").body["parts"]["journal"] == "ok"
        house.services.calls.close()
