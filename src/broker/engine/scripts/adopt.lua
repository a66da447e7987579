-- Begins a new term if this Redis is not the one that the last call knew: after a restart, a failover, or without data.
-- ARGV: node or '0', the term that it knows, run id of Redis, epoch of the new term's stamps.
-- Returns: term, the last stamp that survived, epoch of stamps, state of the node.

local node, known, run, epoch = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local before = redis.call('HMGET', TERM, 'run', 'term', 'stamp')

local function count_unreported(term)
  local unreported, states = 0, redis.call('HVALS', NODES)
  for _, state in ipairs(states) do
    if tonumber(state) and tonumber(state) < term then unreported = unreported + 1 end
  end
  return unreported
end

if before[1] ~= run then
  local term, base = math.max(tonumber(before[2] or '0'), known) + 1, before[3] or '0'
  redis.call('HSET', TERM, 'run', run, 'term', term, 'base', base, 'stamp', base, 'store', epoch, 'unreported',
    count_unreported(term))
end
local now_known = redis.call('HMGET', TERM, 'term', 'base', 'store')
return { now_known[1], now_known[2], now_known[3], redis.call('HGET', NODES, node) }
