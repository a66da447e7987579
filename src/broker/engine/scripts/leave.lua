-- The node stops. Its members stay for a while, because their clients return to other nodes. Its connections belong to no
-- node any more, so that other nodes take them without asking.
-- ARGV: how long its members stay, in ms.

local refused = refusal()
if refused then return refused end

redis.call('HSET', NODES, node, 'old')
redis.call('HDEL', INFO, node)
redis.call('ZADD', BEATS, now() + (ARGV[FIRST] - dead_ms) * 1000, node)
return OK
