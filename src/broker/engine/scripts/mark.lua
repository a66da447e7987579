-- Stores how far the node has delivered, and keeps its mark before this one.
-- ARGV: mark.
-- Returns the stamp of the mark.

local refused = refusal()
if refused then return refused end

local MORE_MS = 60000
local key = prefix .. 'mark:' .. node
local function last_mark()
  local stored = redis.call('GET', key)
  if not stored then return 0, '' end
  local stamp, _, length = struct.unpack('<I8I8I4', stored)
  return stamp, string.sub(stored, 21 + length)
end

local stamp, last_stamp, last = next_stamp(), last_mark()
redis.call('SET', key, struct.pack('<I8I8', stamp, last_stamp) .. text(last) .. ARGV[FIRST], 'PX', grace_ms + MORE_MS)
finish()
return stamp
