-- Calls of a process that take effect once. The process resends an unanswered call with the same number.

local KEPT_MS = 600000

local function answered(boot, number)
  local last = redis.call('GET', prefix .. 'seq:' .. boot)
  if last and struct.unpack('<I8', last) >= number then return string.sub(last, 9) end
end

local function keep(boot, number, answer)
  redis.call('SET', prefix .. 'seq:' .. boot, struct.pack('<I8', number) .. answer, 'PX', KEPT_MS)
  return answer
end
