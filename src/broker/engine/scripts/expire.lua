-- Removes what has been idle for long: channels without members, users without connections, rows without an owner, numbers of
-- dead nodes, blocks.
-- Returns how many things it has removed.

local refused = refusal()
if refused then return refused end

local MOST, LEAST_WAIT_US = 100, 1000000

-- When a stream may be removed, in µs; nil if its removal is not due at all.
local function next_check(stream)
  local idle = idle_time(stream.name)
  if not idle or stream.connections > 0 then return nil end
  -- Nodes follow it: they use it, although it has no members.
  if stream.interested ~= '' then return now() + math.max(idle, LEAST_WAIT_US) end
  return is_channel(stream.name) and stream.stamp + idle or 0
end

-- Returns 1 if the stream was removed.
local function remove_stream(name)
  local stream, private = find(name), not is_channel(name)
  local check = stream and next_check(stream) or 0
  if check > now() then
    redis.call('ZADD', EXPIRY, check, 's' .. name)
    return 0
  end
  redis.call('ZREM', EXPIRY, 's' .. name)
  if stream and not next_check(stream) then return 0 end
  for _, kind in ipairs({ 's:', 'log:', 'hist:' }) do redis.call('DEL', prefix .. kind .. name) end
  if private then redis.call('DEL', prefix .. 'user:' .. string.sub(name, 2)) else redis.call('SREM', CHANNELS, name) end
  if private and stream then add_total('remembered', -1) end
  streams[name] = nil
  return 1
end

local function remove_row(conn)
  local row = find_row(conn)
  if not row or row.owner ~= '0' then return 0 end
  uncount_row(row.user)
  return redis.call('DEL', row.key)
end

local removed = 0
for _, item in ipairs(redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', now(), 'LIMIT', 0, MOST)) do
  local kind, name = string.sub(item, 1, 1), string.sub(item, 2)
  if kind == 's' then
    removed = removed + remove_stream(name)
  else
    redis.call('ZREM', EXPIRY, item)
    if kind == 'k' then removed = removed + remove_row(name)
    elseif kind == 'n' then removed = removed + redis.call('HDEL', NODES, name)
    else removed = removed + remove_block(name) end
  end
end
save_streams()
return removed
