-- Begins a new term if this Redis is not the one that the last call knew: after a restart, a failover, or without data.
-- ARGV: the term that the node knows, run id of Redis, the greatest stamp that the node has seen.
-- Returns: term, the last stamp that survived, epoch of stamps, state of the node or nil.

local known, run, stamp = tonumber(ARGV[FIRST]), ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2])
local before = current_term()

-- All nodes that are known have reported in an earlier term, if at all.
local function count_unreported()
  local unreported = 0
  for _, state in ipairs(redis.call('HVALS', NODES)) do
    if tonumber(state) then unreported = unreported + 1 end
  end
  return unreported
end

if before.run ~= run then
  term = { number = math.max(before.number or 0, known) + 1, base = before.stamp or 0, stamp = before.stamp or 0 }
  -- Without data there is nothing that could be compared with an earlier life.
  term.retire = before.retire or term.number
  term.store = before.store or string.sub(epoch, 1, 6)
  redis.call('HSET', TERM, 'run', run, 'term', term.number, 'base', term.base, 'stamp', term.stamp, 'retire', term.retire,
    'store', term.store, 'unreported', count_unreported(), 'resumed', now())
  -- The clock of this Redis may be behind that of the last one.
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', BEATS, now(), '+inf')) do redis.call('ZADD', BEATS, now(), other) end
end
raise_stamp(stamp)
finish()
return { term.number, term.base, term.store, redis.call('HGET', NODES, node) }
