"""Places of calls at once in Redis or Valkey: see ``security.places``. One hash a limit, one script a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.security.places import LEASE_SECONDS, Wanted
from gateway.store.limit_script import LimitScript

#: Fields are processes, values "when it ends, by this server's clock in ms | places".
#: ARGV: the process, how long a lease lasts, then for each key how many places there are (-1: it is only said what
#: runs) and how many the process has; a process that wants one more writes one more, where all of its keys have room.
_SCRIPT = """
local holder, lasts = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local more = 0
for number, key in ipairs(KEYS) do
  local most, own = tonumber(ARGV[2 * number + 1]), tonumber(ARGV[2 * number + 2])
  if most >= 0 then
    local taken, all = own, redis.call('HGETALL', key)
    for field = 1, #all, 2 do
      local ends, places = string.match(all[field + 1], '^(%d+)|(%d+)$')
      if tonumber(ends) <= now then
        redis.call('HDEL', key, all[field])
      elseif all[field] ~= holder then
        taken = taken + tonumber(places)
      end
    end
    if taken + 1 > most then return {number, taken} end
    more = 1
  end
end
for number, key in ipairs(KEYS) do
  local places = tonumber(ARGV[2 * number + 2]) + more
  if places == 0 then
    redis.call('HDEL', key, holder)
  else
    redis.call('HSET', key, holder, string.format('%.0f|%.0f', now + lasts, places))
    redis.call('PEXPIRE', key, lasts)
  end
end
return false
"""


class RedisPlaces:
    """See ``places.PlaceStore``."""

    def __init__(self, url: str, *, seconds: float = LEASE_SECONDS) -> None:
        """``seconds`` is how long what a process says holds."""
        self._script = LimitScript(url, _SCRIPT)
        self._lasts = int(seconds * 1000)

    def enter(self, holder: str, wanted: Sequence[Wanted]) -> tuple[int, int] | None:
        given = [number for one in wanted for number in (one.most, one.running)]
        told = self._script([_key(one.name) for one in wanted], [holder, self._lasts, *given])
        return None if not told else (told[0] - 1, told[1])

    def say(self, holder: str, running: Mapping[str, int]) -> None:
        given = [number for count in running.values() for number in (-1, count)]
        self._script([_key(name) for name in running], [holder, self._lasts, *given])


def _key(name: str) -> str:
    return f"gateway:places:{name}"
