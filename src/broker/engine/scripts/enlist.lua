-- Makes the number of a node known. Its earlier number is refused from then on.
-- ARGV: earlier number or '0', what other nodes show of this one.

local earlier, info = ARGV[FIRST], ARGV[FIRST + 1]
local term = current_term().number
if not term then return status('NO_TERM') end
local state = redis.call('HGET', NODES, node)
if state and not tonumber(state) then return status('FENCED') end

local reported = earlier ~= node and tonumber(redis.call('HGET', NODES, earlier))
if reported then
  if reported < term then redis.call('HINCRBY', TERM, 'unreported', -1) end
  redis.call('HSET', NODES, earlier, 'old')
  redis.call('HDEL', INFO, earlier)
  -- The node itself sweeps it, after it has stated everything under its new number. If it dies before, others do.
  redis.call('ZADD', BEATS, 'XX', now() + dead_ms * 1000, earlier)
end
if not state then redis.call('HSET', NODES, node, term) end
redis.call('ZADD', BEATS, now(), node)
redis.call('HSET', INFO, node, info)
return OK
