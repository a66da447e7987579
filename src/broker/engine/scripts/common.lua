-- The library begins with this file. Redis runs its text once, when it is loaded, so that a call defines nothing but what is
-- its own. KEYS[1] of a call is the prefix of the partition, for example "cs:{0}:"; all other keys begin with it.
-- ARGV: node, constants, epoch for streams that begin or lose theirs, seed of ids; then those of the function.

local FIRST = 5
local OK = { ok = 'OK' }

-- The state of the call that runs. `begin_call` sets all of it, so that nothing of an earlier call remains in it, whatever
-- became of that one.
local ARGV, node, epoch, seed, clock, term, ids, outgoing, streams, totals

-- Keys of the partition, and the settings of the server. They follow from the text of which they were made, so that they are
-- made again only if that differs.
local prefix, TERM, NODES, BEATS, INFO, DEAD, EXPIRY, CHANNELS, BLOCKS, ROWS
local constants, max_channel_frames, max_user_frames, max_history, key_window_ms, max_channels, max_blocks, user_idle_ms,
  channel_idle_ms, grace_ms, beat_ms, dead_ms

local function use_prefix(text)
  if text == prefix then return end
  prefix, TERM, NODES, BEATS, INFO, DEAD = text, text .. 'term', text .. 'nodes', text .. 'beats', text .. 'info', text .. 'dead'
  -- What is removed when: streams and users ("s"), rows of connections ("k"), nodes ("n"), blocks ("b"); µs since 1970.
  EXPIRY = text .. 'expiry'
  CHANNELS, BLOCKS, ROWS = text .. 'channels', text .. 'blocks', text .. 'rows'
end

local function use_constants(bytes)
  if bytes == constants then return end
  max_channel_frames, max_user_frames, max_history, key_window_ms, max_channels, max_blocks, user_idle_ms, channel_idle_ms,
    grace_ms, beat_ms, dead_ms = struct.unpack('<I8I8I8I8I8I8I8I8I8I8I8', bytes)
  constants = bytes
end

local function begin_call(keys, arguments)
  use_prefix(keys[1])
  use_constants(arguments[2])
  ARGV, node, epoch, seed = arguments, arguments[1], arguments[3], arguments[4]
  clock, term, ids, outgoing, streams, totals = nil, nil, nil, {}, {}, {}
end

-- Makes a function callable. NAME is the name of the library, so that two versions of it have no function in common.
local function register(name, flags, run)
  local function callback(keys, arguments)
    begin_call(keys, arguments)
    return run()
  end
  redis.register_function { function_name = NAME .. '_' .. name, callback = callback, flags = flags }
end

local function status(text) return { ok = text } end

-- µs since 1970, read once for each call.
local function now()
  if not clock then
    local time = redis.call('TIME')
    clock = time[1] * 1000000 + time[2]
  end
  return clock
end

-- The state of the partition, read once for each call. Without a number if no node has adopted this Redis.
local function current_term()
  if not term then
    local values = redis.call('HMGET', TERM, 'term', 'stamp', 'retire', 'unreported', 'store', 'run', 'base')
    term = { number = tonumber(values[1]), stamp = tonumber(values[2]), retire = tonumber(values[3]),
      unreported = tonumber(values[4]), store = values[5], run = values[6], base = tonumber(values[7]) }
  end
  return term
end

local function is_known(number) return tonumber(redis.call('HGET', NODES, number)) ~= nil end

-- Why the calling node may change nothing: other nodes have declared it dead, or Redis does not know it; or nodes have not
-- yet reported what they saw before a failover.
local function refusal()
  if not is_known(node) then return status('FENCED') end
  if current_term().unreported ~= 0 then return status('SETTLING') end
end

-- Later stamps are greater than this one.
local function raise_stamp(stamp)
  local term = current_term()
  if stamp > term.stamp then term.stamp, term.is_stamped = stamp, true end
end

-- A stamp is a time that never repeats within the partition.
local function next_stamp()
  raise_stamp(math.max(now(), current_term().stamp + 1))
  return term.stamp
end

-- Ids of events, counted up from the seed.
local function next_uuid()
  ids = ((ids or struct.unpack('>I4', string.sub(seed, 13))) + 1) % 4294967296
  return string.sub(seed, 1, 12) .. struct.pack('>I4', ids)
end

local function text(bytes) return struct.pack('<I4', #bytes) .. bytes end

local function publish(to, mail) return redis.call('SPUBLISH', prefix .. 'box:' .. to, mail) end

local function each_number(numbers) return string.gmatch(numbers, '%d+') end

local function add(list, head, bytes)
  list[#list + 1], list[#list + 2] = head, bytes
end

-- From here on each node has a list of its own.
local function separate()
  outgoing.lists = {}
  for to in each_number(outgoing.nodes) do
    local copy = {}
    for i, bytes in ipairs(outgoing.list) do copy[i] = bytes end
    outgoing.lists[to] = copy
  end
end

-- Adds an item to what the mailboxes of nodes receive at the end of the call. The nodes are a text of numbers. As long as
-- all items are for the same nodes, they share one list: Lua hashes each byte of a text that it makes, which is a large
-- part of what a call costs.
local function deliver(nodes, head, bytes)
  if not outgoing.nodes then outgoing.nodes, outgoing.list = nodes, {} end
  if not outgoing.lists then
    if nodes == outgoing.nodes then return add(outgoing.list, head, bytes) end
    separate()
  end
  for to in each_number(nodes) do
    outgoing.lists[to] = outgoing.lists[to] or {}
    add(outgoing.lists[to], head, bytes)
  end
end

local function finish()
  if term and term.is_stamped then redis.call('HSET', TERM, 'stamp', term.stamp) end
  if outgoing.lists then
    for to, list in pairs(outgoing.lists) do publish(to, table.concat(list)) end
  elseif outgoing.nodes then
    local mail = table.concat(outgoing.list)
    for to in each_number(outgoing.nodes) do publish(to, mail) end
  end
end
