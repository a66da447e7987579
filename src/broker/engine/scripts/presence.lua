-- How many connections of a user each node has in a stream, and which users are present.

-- What Redis stores of a user, as calls return it: nil, or version and record.
local function stored_user(stored)
  if not stored then return false end
  local version, length = struct.unpack('<I8I4', stored)
  return { version, string.sub(stored, 13 + length) }
end

-- The version of a user's record and what streams show of the user; `view` if there is no record.
local function shown(user, view)
  local stored = redis.call('GET', prefix .. 'user:' .. user)
  if not stored then return struct.pack('<I8', 0) .. view end
  local length = struct.unpack('<I4', stored, 9)
  return string.sub(stored, 1, 8) .. string.sub(stored, 13, 12 + length)
end

-- Sends a change of the numbers. Users that join and part are entries where members learn of each of them.
local function send_numbers(stream, kind, user, view, is_quiet)
  if kind == NUMBERS then return send(stream, NOTE, record(NUMBERS, NO_UUID, 0, '')) end
  local event = record(kind, next_uuid(), now(), text(user) .. view)
  local is_event = has(stream.flags, NOTIFY_PRESENCE) and not has(stream.flags, QUIET_PRESENCE) and not is_quiet
  if is_event then append(stream, event) else send(stream, NOTE, event) end
end

-- Stores how many connections a user has in a stream, if any.
local function store_member(stream, user, connections, rest)
  local members, channels = prefix .. 'members:' .. stream.name, prefix .. 'in:' .. user
  if connections > 0 then
    redis.call('HSET', members, user, struct.pack('<I4', connections) .. rest)
    if is_channel(stream.name) then redis.call('HSET', channels, stream.name, connections) end
  else
    redis.call('HDEL', members, user)
    if is_channel(stream.name) then redis.call('HDEL', channels, stream.name) end
  end
end

-- What a node states of a user in a stream is one number: its connections, and this times the present ones among them. Only
-- private streams distinguish them, because in channels all members are present.
local PRESENT = 16777216

-- Counts present users and their connections, by the private stream of the user.
local function count_present(stream, by)
  if by == 0 then return end
  local after = stream.present + by
  if stream.present == 0 then add_total('users', 1) elseif after == 0 then add_total('users', -1) end
  add_total('connections', by)
  change(stream, 'present', after)
end

-- The field in which a node's own hash has the number. Names may contain any character, so that the length ends that of the
-- stream.
local function count_field(name, user) return 'm' .. #name .. ':' .. name .. user end

-- The stream and the user of such a field.
local function read_count_field(field)
  local length, at = string.match(field, '^m(%d+):()')
  return string.sub(field, at, at + length - 1), string.sub(field, at + length)
end

-- States what a node has of a user in a stream.
local function count(holder, stream, user, stated, view, is_quiet)
  local own, field = prefix .. 'own:' .. holder, count_field(stream.name, user)
  local held = tonumber(redis.call('HGET', own, field) or '0')
  if stated == held then return end
  if stated > 0 then redis.call('HSET', own, field, stated) else redis.call('HDEL', own, field) end
  count_present(stream, math.floor(stated / PRESENT) - math.floor(held / PRESENT))
  local connections, before = stated % PRESENT, held % PRESENT
  if connections == before then return end
  local member = redis.call('HGET', prefix .. 'members:' .. stream.name, user)
  local total = member and struct.unpack('<I4', member) or 0
  local after, rest = total + connections - before, member and string.sub(member, 5) or shown(user, view)
  store_member(stream, user, after, rest)
  local was_empty = stream.connections == 0
  change(stream, 'connections', stream.connections + connections - before)
  change(stream, 'numbers', stream.numbers + 1)
  local kind = total == 0 and JOINED or after == 0 and PARTED or NUMBERS
  if kind ~= NUMBERS then change(stream, 'users', stream.users + (kind == JOINED and 1 or -1)) end
  if stream.connections == 0 then plan_removal(stream.name)
  elseif was_empty then redis.call('ZREM', EXPIRY, 's' .. stream.name) end
  send_numbers(stream, kind, user, string.sub(rest, 9), is_quiet)
end
