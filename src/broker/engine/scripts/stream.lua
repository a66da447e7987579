-- Streams: channels (their names begin with "c") and the private messages of a user ("u").

-- `first` is the first offset in the log, `floor` the stamp of the entry before it, `stamp` that of the last entry; `present`
-- are the present connections of the user of a private stream. The numbers are one field of the hash, `counters`, because Redis
-- takes most of the time of a call for finding fields and for numbers as text.
local TEXTS = { epoch = 'epoch', interested = 'interested', previous_epoch = 'previous_epoch', uuid = 'uuid',
  settings = 'settings' }
local COUNTERS = '<I8I8I8I8I8I8I8I8I8I8I8I8I8I8'
local NOTIFY_PRESENCE, STORE_HISTORY, STORE_FRAMES, NOTIFY_STATE, QUIET_PRESENCE = 1, 2, 4, 8, 16
local ENTRY, NOTE = '\1\0', '\1\1'
-- Lua passes no more values to a command than some thousands.
local MOST_VALUES = 1000

local function has(flags, flag) return flags % (2 * flag) >= flag end

local function is_channel(name) return string.byte(name) == 99 end

-- A stream, or nil if there is none.
local function find(name)
  if streams[name] then return streams[name] end
  local key = prefix .. 's:' .. name
  local values = redis.call('HMGET', key, 'epoch', 'interested', 'previous_epoch', 'counters')
  if not values[1] then return nil end
  local stream = { name = name, key = key, changed = {}, epoch = values[1], interested = values[2],
    previous_epoch = values[3] }
  stream.previous_offset, stream.offset, stream.first, stream.floor, stream.stamp, stream.term, stream.flags,
    stream.history, stream.connections, stream.users, stream.numbers, stream.announced, stream.present, stream.frames =
      struct.unpack(COUNTERS, values[4])
  streams[name] = stream
  return stream
end

local function change(stream, field, value)
  stream[field], stream.changed[TEXTS[field] or 'counters'] = value, true
end

local function counters(stream)
  return struct.pack(COUNTERS, stream.previous_offset, stream.offset, stream.first, stream.floor, stream.stamp, stream.term,
    stream.flags, stream.history, stream.connections, stream.users, stream.numbers, stream.announced, stream.present,
    stream.frames)
end

-- How many entries the log keeps. `frames` of a channel is one more, or 0 if it keeps as many as others.
local function frames_of(stream)
  if stream.frames > 0 then return stream.frames - 1 end
  return is_channel(stream.name) and max_channel_frames or max_user_frames
end

local function push(list, items)
  local length
  for first = 1, #items, MOST_VALUES do
    length = redis.call('RPUSH', list, unpack(items, first, math.min(first + MOST_VALUES - 1, #items)))
  end
  return length
end

-- Stores the entries that the call has appended to a stream.
local function save_log(stream)
  local log, frames = prefix .. 'log:' .. stream.name, frames_of(stream)
  local length = push(log, stream.entries)
  -- Trimmed seldom, because each time costs as much as an append.
  if length <= frames + math.floor(frames / 8) then return end
  local last_trimmed = redis.call('LINDEX', log, length - frames - 1)
  redis.call('LTRIM', log, -frames, -1)
  change(stream, 'first', stream.offset + 1 - frames)
  change(stream, 'floor', (struct.unpack('<I8', last_trimmed, 9)))
end

-- Changes a sum of the cluster at the end of the call; tally.lua reads them.
local function add_total(name, by) totals[name] = (totals[name] or 0) + by end

local function save_streams()
  for _, stream in pairs(streams) do
    if stream.entries then save_log(stream) end
    local values = {}
    for field in pairs(stream.changed) do
      values[#values + 1] = field
      values[#values + 1] = field == 'counters' and counters(stream) or stream[field]
    end
    if values[1] then redis.call('HSET', stream.key, unpack(values)) end
  end
  for name, by in pairs(totals) do
    if by ~= 0 then redis.call('HINCRBY', TERM, name, by) end
  end
  finish()
end

-- Delivers a record to all nodes that follow the stream; src/broker/engine/entry.rs reads it.
local function send(stream, kind, bytes)
  if stream.interested == '' then return end
  local place = struct.pack('<I8I8I8I4I4', stream.offset, stream.stamp, stream.numbers, stream.connections, stream.users)
  local length = #kind + 4 + #stream.name + #stream.epoch + #place + #bytes
  deliver(stream.interested, struct.pack('<I4', length) .. kind .. text(stream.name) .. stream.epoch .. place, bytes)
end

-- Ends the epoch of a stream, because entries may be lost that a node has seen.
local function retire(stream)
  local previous = stream.epoch
  change(stream, 'previous_epoch', previous)
  change(stream, 'previous_offset', stream.offset)
  change(stream, 'epoch', epoch)
  change(stream, 'term', current_term().number)
  send(stream, NOTE, record(EPOCH_END, NO_UUID, 0, text(previous) .. number_field(stream.offset)))
end

-- Continues a stream behind an offset that a node has seen, so that offsets never go back for its members. What is lost
-- in between is empty.
local function raise_offset(stream, offset)
  local lost, log = offset - stream.offset, prefix .. 'log:' .. stream.name
  if lost <= 0 then return end
  if has(stream.flags, STORE_FRAMES) and lost <= frames_of(stream) then
    for i = 1, lost do redis.call('RPUSH', log, struct.pack('<I8I8', stream.offset + i, stream.stamp)) end
  else
    redis.call('DEL', log)
    change(stream, 'first', offset + 1)
    change(stream, 'floor', stream.stamp)
  end
  change(stream, 'offset', offset)
end

-- A stream, or nil if there is none. Its epoch ends if a node without a report may know more entries of it.
local function open(name)
  local stream = find(name)
  if stream and stream.term < current_term().retire then retire(stream) end
  return stream
end

-- How long a stream is kept without connections, in µs; nil means forever.
local function idle_time(name)
  if not is_channel(name) then return user_idle_ms * 1000 end
  if channel_idle_ms > 0 then return channel_idle_ms * 1000 end
end

-- Plans the removal of a stream without connections.
local function plan_removal(name)
  local idle = idle_time(name)
  if idle then redis.call('ZADD', EXPIRY, now() + idle, 's' .. name) end
end

-- Begins a stream that is missing, behind an offset.
local function begin(name, flags, history, frames, offset)
  local stamp = next_stamp()
  local stream = {
    name = name, key = prefix .. 's:' .. name, epoch = epoch, interested = '', previous_epoch = '',
    previous_offset = 0, offset = offset, first = offset + 1, floor = stamp, stamp = stamp, term = current_term().number, flags = flags,
    history = history, connections = 0, users = 0, numbers = 0, announced = 0, present = 0, frames = frames,
    changed = { epoch = true, interested = true, previous_epoch = true, counters = true },
  }
  streams[name] = stream
  if is_channel(name) then redis.call('SADD', CHANNELS, name) else add_total('remembered', 1) end
  plan_removal(name)
  return stream
end

-- The private stream of a user. If it is missing, it begins behind an offset.
local function open_private(name, offset) return open(name) or begin(name, STORE_FRAMES, 0, 0, offset) end

-- Appends an entry, and delivers it. `save_streams` stores it. Returns whether the log keeps it.
local function append(stream, bytes)
  local is_kept = has(stream.flags, STORE_FRAMES) and frames_of(stream) > 0
  -- It kept entries until now.
  if not is_kept and stream.first <= stream.offset then redis.call('DEL', prefix .. 'log:' .. stream.name) end
  stream.offset, stream.stamp, stream.changed.counters = stream.offset + 1, next_stamp(), true
  if is_kept then
    local entries = stream.entries or {}
    entries[#entries + 1] = struct.pack('<I8I8', stream.offset, stream.stamp) .. bytes
    stream.entries = entries
  else
    stream.first, stream.floor = stream.offset + 1, stream.stamp
  end
  send(stream, ENTRY, bytes)
  return is_kept
end

-- States whether a node follows a stream, and so receives what happens in it.
local function follow(follower, stream, is_on)
  local field, others = 'i' .. stream.name, {}
  for other in each_number(stream.interested) do
    if other ~= follower then table.insert(others, other) end
  end
  if is_on then
    table.insert(others, follower)
    redis.call('HSET', prefix .. 'own:' .. follower, field, '1')
  else
    redis.call('HDEL', prefix .. 'own:' .. follower, field)
  end
  change(stream, 'interested', table.concat(others, ' '))
end
