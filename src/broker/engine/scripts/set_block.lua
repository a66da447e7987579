-- Blocks a user, and notifies all nodes.
-- ARGV: user, record of the block, when the block may be forgotten in ms since 1970 or '0'.
-- Returns OK, or FULL if there are too many blocks; nothing was done then.

local refused = refusal()
if refused then return refused end

local user, until_ms = ARGV[FIRST], tonumber(ARGV[FIRST + 2])
if redis.call('HEXISTS', BLOCKS, user) == 0 and redis.call('HLEN', BLOCKS) >= max_blocks then
  return status('FULL')
end
redis.call('HSET', BLOCKS, user, ARGV[FIRST + 1])
if until_ms > 0 then
  redis.call('ZADD', EXPIRY, until_ms * 1000, 'b' .. user)
else
  redis.call('ZREM', EXPIRY, 'b' .. user)
end
announce_block(user, ARGV[FIRST + 1])
finish()
return OK
