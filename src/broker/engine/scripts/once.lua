-- Calls of a process, and parts of requests with an idempotency key, that take effect once. The process sends an unanswered
-- call again with the same number; a backend sends the request again, to any node.
-- ARGV: process, number of the call, then from FIRST_OF_NUMBERED on those of the function.

local KEPT_MS, SLOTS, FIRST_OF_NUMBERED = 600000, 256, FIRST + 2

-- Where the answer to this call is kept, and the number of the call.
local function kept()
  local number = tonumber(ARGV[FIRST + 1])
  return prefix .. 'seq:' .. ARGV[FIRST], number % SLOTS, number
end

-- The answer to this call, if it has been answered.
local function answered()
  local last_calls, slot, call_number = kept()
  local last = redis.call('HGET', last_calls, slot)
  if not last then return end
  local number = struct.unpack('<I8', last)
  if number == call_number then return string.sub(last, 9) end
  if number > call_number then return status('OUTDATED') end
end

local function keep(answer)
  local last_calls, slot, call_number = kept()
  redis.call('HSET', last_calls, slot, struct.pack('<I8', call_number) .. answer)
  redis.call('PEXPIRE', last_calls, KEPT_MS)
  return answer
end

-- Where a part of a request names it: its fingerprint, its time, the number of the part, and its key.
local FINGERPRINT_END, TIME_END, NUMBER_END = 16, 24, 28

-- Publishes a part of a request, unless a request with its key has done so. `part` is '' for a request without a key. Returns
-- an answer with the time of that other request.
local function publish_once(part, act, ...)
  if part == '' then return act(...) .. NO_TIME end
  local request, number = string.sub(part, 1, TIME_END), string.sub(part, TIME_END + 1, NUMBER_END)
  local key = prefix .. 'key:' .. string.sub(part, NUMBER_END + 1)
  local known = redis.call('HMGET', key, 'request', number)
  local first = known[1]
  if not first then
    redis.call('HSET', key, 'request', request)
    redis.call('PEXPIRE', key, math.max(key_window_ms, 1))
  elseif string.sub(first, 1, FINGERPRINT_END) ~= string.sub(part, 1, FINGERPRINT_END) then
    return KEY_REUSED
  elseif known[2] then
    return known[2] .. string.sub(first, FINGERPRINT_END + 1)
  end
  local published = act(...)
  redis.call('HSET', key, number, published)
  return published .. NO_TIME
end
