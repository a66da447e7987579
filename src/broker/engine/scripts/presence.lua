-- How many connections of a user each node counts in a stream, and who is present.

local function size(bytes) return bytes == false and 0 or (struct.unpack('<I4', bytes)) end

-- Makes uuids of the one that the caller drew.
local function uuids(seed)
  local counter = struct.unpack('>I4', string.sub(seed, 13))
  return function()
    counter = (counter + 1) % 4294967296
    return string.sub(seed, 1, 12) .. struct.pack('>I4', counter)
  end
end

local function presence(kind, uuid, user, view)
  return '\1' .. string.char(kind) .. '\0' .. uuid .. struct.pack('<I8I8', now(), 0) .. text(user) .. text(view)
end

-- States that a node counts this many connections. The first and the last one of a user in the cluster are published.
local function count(node, stream, user, connections, view, next_uuid, max_frames, is_quiet)
  local own, field = prefix .. 'own:' .. node, 'm' .. stream.name .. '\0' .. user
  local members = prefix .. 'members:' .. stream.name
  local before = tonumber(redis.call('HGET', own, field) or '0')
  local member = redis.call('HGET', members, user)
  local total = size(member)
  local after = total + connections - before
  if connections == before then return end
  if connections > 0 then redis.call('HSET', own, field, connections) else redis.call('HDEL', own, field) end
  stream.is_changed, stream.connections = true, stream.connections + connections - before
  if after > 0 then
    local rest = member and string.sub(member, 5) or struct.pack('<I8', 0) .. view
    redis.call('HSET', members, user, struct.pack('<I4', after) .. rest)
  else
    redis.call('HDEL', members, user)
  end
  if (total == 0) == (after == 0) then return end
  stream.users, stream.roster = stream.users + (after == 0 and -1 or 1), stream.roster + 1
  if not is_quiet and has(stream.flags, NOTIFY_PRESENCE) then
    local shown = member and string.sub(member, 13) or view
    append(stream, presence(after == 0 and PARTED or JOINED, next_uuid(), user, shown), max_frames)
  end
end

-- States whether a node has members of a stream, and so receives its entries.
local function interest(node, stream, is_on)
  local nodes = {}
  each_interested(stream, function(other) if other ~= node then table.insert(nodes, other) end end)
  local own = prefix .. 'own:' .. node
  if is_on then
    table.insert(nodes, node)
    redis.call('HSET', own, 'i' .. stream.name, '1')
  else
    redis.call('HDEL', own, 'i' .. stream.name)
  end
  stream.interested, stream.is_changed = table.concat(nodes, ' '), true
end
