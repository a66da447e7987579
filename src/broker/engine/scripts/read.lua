-- Reads a stream, or its part behind an offset, in slices.
-- ARGV: stream, offset, '1' for the history, '1' for the members, maximum bytes of entries.
-- Returns nil for an unknown stream, else: fields of the stream, entries, history, members.

local name, after, max_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])
local stream = find(name)
if not stream then return false end

local SLICE = 64
local function entries()
  local found, bytes, at = {}, 0, math.max(after + 1 - stream.first, 0)
  while bytes < max_bytes do
    local slice = redis.call('LRANGE', prefix .. 'log:' .. name, at, at + SLICE - 1)
    for _, entry in ipairs(slice) do
      if bytes >= max_bytes then break end
      table.insert(found, entry)
      bytes = bytes + #entry
    end
    if #slice < SLICE then break end
    at = at + SLICE
  end
  return found
end

local history = ARGV[3] == '1' and redis.call('LRANGE', prefix .. 'hist:' .. name, 0, -1) or {}
local members = ARGV[4] == '1' and redis.call('HGETALL', prefix .. 'members:' .. name) or {}
local fields = { stream.epoch, stream.offset, stream.first, stream.floor, stream.stamp, stream.flags, stream.history,
  stream.connections, stream.users, stream.roster, stream.previous_epoch, stream.previous_offset }
return { fields, entries(), history, members }
