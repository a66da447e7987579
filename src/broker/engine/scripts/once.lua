-- Calls of a process that take effect once. The process sends an unanswered call again with the same number.
-- ARGV: process, number of the call.

local KEPT_MS, SLOTS = 600000, 256
local last_calls, call_number = prefix .. 'seq:' .. ARGV[FIRST], tonumber(ARGV[FIRST + 1])
local slot = call_number % SLOTS
FIRST = FIRST + 2

-- The answer to this call, if it has been answered.
local function answered()
  local last = redis.call('HGET', last_calls, slot)
  if not last then return end
  local number = struct.unpack('<I8', last)
  if number == call_number then return string.sub(last, 9) end
  if number > call_number then return redis.status_reply('OUTDATED') end
end

local function keep(answer)
  redis.call('HSET', last_calls, slot, struct.pack('<I8', call_number) .. answer)
  redis.call('PEXPIRE', last_calls, KEPT_MS)
  return answer
end
