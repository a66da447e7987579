-- Streams: channels (their names begin with "c") and the private messages of a user ("u").

-- `first` is the first offset in the log, `floor` the stamp of the entry before it, `stamp` that of the last entry.
local NUMBERS = { 'offset', 'first', 'floor', 'stamp', 'term', 'flags', 'history', 'connections', 'users', 'roster',
  'previous_offset' }
local TEXTS = { 'epoch', 'interested', 'previous_epoch' }
local NOTIFY_PRESENCE, STORE_HISTORY, STORE_FRAMES = 1, 2, 4

local streams = {}

local function has(flags, flag) return flags % (2 * flag) >= flag end

-- The state of a stream, or nil if there is none.
local function find(name)
  if streams[name] then return streams[name] end
  local stream = { name = name, key = prefix .. 's:' .. name }
  local values = redis.call('HMGET', stream.key, unpack(TEXTS))
  if not values[1] then return nil end
  for i, field in ipairs(TEXTS) do stream[field] = values[i] end
  values = redis.call('HMGET', stream.key, unpack(NUMBERS))
  for i, field in ipairs(NUMBERS) do stream[field] = tonumber(values[i]) end
  streams[name] = stream
  return stream
end

-- Calls `act` with the number of each node that has members of the stream.
local function each_interested(stream, act)
  for node in string.gmatch(stream.interested, '%d+') do act(node) end
end

local function text(bytes) return struct.pack('<I4', #bytes) .. bytes end

-- What nodes receive of a stream; src/broker/engine/entry.rs reads it.
local function encode(stream, stamp, record)
  return text('\1' .. text(stream.name) .. stream.epoch
    .. struct.pack('<I8I8I8I4I4', stream.offset, stamp, stream.roster, stream.connections, stream.users) .. record)
end

-- Ends the epoch of a stream, because entries may be lost that a node has seen.
local function retire(stream, epoch, term)
  stream.previous_epoch, stream.previous_offset = stream.epoch, stream.offset
  stream.epoch, stream.term, stream.is_changed = epoch, term, true
  each_interested(stream, function(node) deliver(node, encode(stream, stream.stamp, '')) end)
end

-- Begins a stream that is missing, and a new epoch of one that a node without a report may know better.
local function open(name, epoch, defaults)
  local stream = find(name)
  local term = redis.call('HMGET', TERM, 'term', 'retire')
  if not stream then
    local stamp = next_stamp()
    stream = {
      name = name, key = prefix .. 's:' .. name, epoch = epoch, interested = '', previous_epoch = '', previous_offset = 0,
      offset = 0, first = 1, floor = stamp, stamp = stamp, term = tonumber(term[1]), flags = defaults.flags,
      history = defaults.history, connections = 0, users = 0, roster = 0, is_changed = true,
    }
    streams[name] = stream
    redis.call('SADD', prefix .. 'streams', name)
  elseif stream.term < tonumber(term[2] or '0') then
    retire(stream, epoch, tonumber(term[1]))
  end
  return stream
end

-- Appends an entry, and delivers it to all nodes that have members.
local function append(stream, record, max_frames)
  stream.offset, stream.stamp, stream.is_changed = stream.offset + 1, next_stamp(), true
  local log = prefix .. 'log:' .. stream.name
  if not has(stream.flags, STORE_FRAMES) then
    stream.first, stream.floor = stream.offset + 1, stream.stamp
  else
    local length = redis.call('RPUSH', log, struct.pack('<I8I8', stream.offset, stream.stamp) .. record)
    -- Trimmed seldom, because each time costs as much as an append.
    if length > max_frames + math.floor(max_frames / 8) then
      local last_trimmed = redis.call('LINDEX', log, length - max_frames - 1)
      redis.call('LTRIM', log, -max_frames, -1)
      stream.first, stream.floor = stream.offset + 1 - max_frames, struct.unpack('<I8', last_trimmed, 9)
    end
  end
  local entry = encode(stream, stream.stamp, record)
  each_interested(stream, function(node) deliver(node, entry) end)
  return stream.offset, stream.stamp
end

local function save_streams()
  for _, stream in pairs(streams) do
    if stream.is_changed then
      local values = {}
      for _, fields in ipairs({ TEXTS, NUMBERS }) do
        for _, field in ipairs(fields) do
          table.insert(values, field)
          table.insert(values, stream[field])
        end
      end
      redis.call('HSET', stream.key, unpack(values))
    end
  end
  finish()
end
