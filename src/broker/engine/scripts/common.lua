-- What every script begins with. KEYS[1] is the prefix of the partition, for example "cs:{0}:"; all other keys begin with it.
-- ARGV: node, constants, epoch for streams that begin or lose theirs, seed of ids; then those of the script.

local prefix, node, epoch, seed = KEYS[1], ARGV[1], ARGV[3], ARGV[4]
local FIRST = 5
local max_channel_frames, max_user_frames, max_history, key_window_ms, max_channels, max_blocks, user_idle_ms,
  channel_idle_ms, grace_ms, beat_ms, dead_ms = struct.unpack('<I8I8I8I8I8I8I8I8I8I8I8', ARGV[2])
local TERM, NODES, BEATS, INFO, DEAD = prefix .. 'term', prefix .. 'nodes', prefix .. 'beats', prefix .. 'info', prefix .. 'dead'
-- What is removed when: streams and users ("s"), rows of connections ("k"), nodes ("n"), blocks ("b"); µs since 1970.
local EXPIRY = prefix .. 'expiry'

local OK = redis.status_reply('OK')

-- µs since 1970, read once for each call.
local clock
local function now()
  if not clock then
    local time = redis.call('TIME')
    clock = time[1] * 1000000 + time[2]
  end
  return clock
end

-- The state of the partition, read once for each call. Without a number if no node has adopted this Redis.
local term
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
  if not is_known(node) then return redis.status_reply('FENCED') end
  if current_term().unreported ~= 0 then return redis.status_reply('SETTLING') end
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
local ids
local function next_uuid()
  ids = ((ids or struct.unpack('>I4', string.sub(seed, 13))) + 1) % 4294967296
  return string.sub(seed, 1, 12) .. struct.pack('>I4', ids)
end

local function text(bytes) return struct.pack('<I4', #bytes) .. bytes end

local function publish(to, mail) return redis.call('SPUBLISH', prefix .. 'box:' .. to, mail) end

-- What the mailboxes of nodes receive at the end of the call, by node.
local outgoing = {}
local function deliver(to, item)
  if outgoing[to] then table.insert(outgoing[to], item) else outgoing[to] = { item } end
end

local function finish()
  if term and term.is_stamped then redis.call('HSET', TERM, 'stamp', term.stamp) end
  for to, items in pairs(outgoing) do publish(to, table.concat(items)) end
end
