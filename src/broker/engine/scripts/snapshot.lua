-- What `read` and `follow` return.

local SLICE = 64

-- The part of the log behind an offset.
local function entries(stream, after, max_bytes)
  local found, bytes, at = {}, 0, math.max(after + 1 - stream.first, 0)
  while bytes < max_bytes do
    local slice = redis.call('LRANGE', prefix .. 'log:' .. stream.name, at, at + SLICE - 1)
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

-- Fields of the stream, entries, history, members.
local function snapshot(stream, after, max_bytes, with_history, with_members)
  local about = redis.call('HMGET', stream.key, 'uuid', 'settings')
  local fields = { stream.epoch, stream.offset, stream.first, stream.floor, stream.stamp, stream.connections, stream.users,
    stream.numbers, stream.announced, about[1] or '00000000-0000-0000-0000-000000000000', about[2] or '',
    stream.previous_epoch, stream.previous_offset }
  local history = with_history and redis.call('LRANGE', prefix .. 'hist:' .. stream.name, 0, -1) or {}
  local members = with_members and redis.call('HGETALL', prefix .. 'members:' .. stream.name) or {}
  return { fields, entries(stream, after, max_bytes), history, members }
end
