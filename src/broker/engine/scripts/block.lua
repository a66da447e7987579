-- Blocks of users, which all nodes enforce.

-- Notifies all nodes. There is no stream, so that position and numbers are zeros.
local function announce_block(user, bytes)
  local note = record(BLOCK, NO_UUID, 0, text(user) .. text(bytes))
  local head = '\1\1' .. text('b') .. '00000000' .. string.rep('\0', 32)
  local states = redis.call('HGETALL', NODES)
  for i = 1, #states, 2 do
    if tonumber(states[i + 1]) then deliver(states[i], struct.pack('<I4', #head + #note) .. head, note) end
  end
end

-- Returns 1 if there was a block.
local function remove_block(user)
  redis.call('ZREM', EXPIRY, 'b' .. user)
  local removed = redis.call('HDEL', BLOCKS, user)
  if removed > 0 then announce_block(user, '') end
  return removed
end
