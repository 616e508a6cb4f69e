"""Grants of rate limits in Redis or Valkey: see ``security.shared_limits``. One hash a key, one script a step."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.security.limits import WINDOW_SECONDS
from gateway.security.shared_limits import LAPSE_SECONDS, Ask, Back, Granted
from gateway.store.limit_script import LimitScript

#: Fields are grants ("process:number"), values "when it ends, by this server's clock in ms | requests | tokens".
#: ARGV: how many are given back, those (grant, requests, tokens), then what is asked, or nothing.
_SCRIPT = """
local function read(value)
  local ends, requests, tokens = string.match(value, '^(%d+)|(-?%d+)|(-?%d+)$')
  return tonumber(ends), tonumber(requests), tonumber(tokens)
end
local function write(grant, ends, requests, tokens)
  redis.call('HSET', KEYS[1], grant, string.format('%.0f|%.0f|%.0f', ends, requests, tokens))
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = 2
for _ = 1, tonumber(ARGV[1]) do
  local value = redis.call('HGET', KEYS[1], ARGV[at])
  if value then
    local ends, requests, tokens = read(value)
    requests, tokens = math.max(requests - ARGV[at + 1], 0), math.max(tokens - ARGV[at + 2], 0)
    if requests == 0 and tokens == 0 then
      redis.call('HDEL', KEYS[1], ARGV[at])
    else
      write(ARGV[at], ends, requests, tokens)
    end
  end
  at = at + 3
end
if not ARGV[at] then return false end
local grant, lasts = ARGV[at], tonumber(ARGV[at + 1])
local most_requests, most_tokens = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
local want_requests, want_tokens = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
local need_tokens = tonumber(ARGV[at + 6])
local used_requests, used_tokens, held = 0, 0, {}
local own = string.match(grant, '^[^:]*')
local processes, seen = 1, {[own] = true}
local all = redis.call('HGETALL', KEYS[1])
for field = 1, #all, 2 do
  local ends, requests, tokens = read(all[field + 1])
  if ends <= now then
    redis.call('HDEL', KEYS[1], all[field])
  else
    used_requests, used_tokens = used_requests + requests, used_tokens + tokens
    held[#held + 1] = {ends, requests, tokens}
    local process = string.match(all[field], '^[^:]*')
    if not seen[process] then
      processes, seen[process] = processes + 1, true
    end
  end
end
local function fits(requests, tokens)
  return (most_requests < 0 or requests + 1 <= most_requests)
    and (most_tokens < 0 or tokens + need_tokens <= most_tokens)
end
if not fits(used_requests, used_tokens) then
  table.sort(held, function(one, other) return one[1] < other[1] end)
  local requests, tokens, wait = used_requests, used_tokens, lasts
  for _, one in ipairs(held) do
    requests, tokens = requests - one[2], tokens - one[3]
    if fits(requests, tokens) then
      wait = one[1] - now
      break
    end
  end
  return {0, 0, used_requests, used_tokens, wait}
end
local function share(most, used, want, need)
  return most < 0 and 0 or math.min(want, math.max(math.floor((most - used) / processes), need))
end
local requests = share(most_requests, used_requests, want_requests, 1)
local tokens = share(most_tokens, used_tokens, want_tokens, need_tokens)
write(grant, now + lasts, requests, tokens)
redis.call('PEXPIRE', KEYS[1], lasts)
return {requests, tokens, used_requests + requests, used_tokens + tokens, -1}
"""


class RedisGrants:
    """See ``shared_limits.GrantStore``."""

    def __init__(self, url: str, *, seconds: float = WINDOW_SECONDS + LAPSE_SECONDS) -> None:
        """``seconds`` is how long a grant counts."""
        self._script = LimitScript(url, _SCRIPT)
        self._lasts = int(seconds * 1000)

    def exchange(self, key: str, back: Sequence[Back], ask: Ask | None) -> Granted | None:
        given: list[str | int] = [len(back)]
        for one in back:
            given += [one.grant_id, one.requests, one.tokens]
        if ask is not None:
            most = [-1 if limit is None else limit for limit in (ask.most_requests, ask.most_tokens)]
            given += [ask.grant_id, self._lasts, *most, ask.want_requests, ask.want_tokens, ask.tokens]
        told = self._script([f"gateway:limit:{key}"], given)
        if not told:
            return None
        requests, tokens, used_requests, used_tokens, wait = told
        return Granted(requests, tokens, used_requests, used_tokens, None if wait < 0 else max(wait, 1) / 1000)
