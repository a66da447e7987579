-- Calls of a process that take effect once. The process sends an unanswered call again with the same number.
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
