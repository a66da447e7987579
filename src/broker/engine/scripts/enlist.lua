-- Gives a process its number in this partition. Its earlier number is refused from then on.
-- ARGV: number, earlier number or '0'.

local number, earlier = ARGV[1], ARGV[2]
local term = redis.call('HGET', TERM, 'term')
if not term then return redis.status_reply('NO_TERM') end
local reported = tonumber(redis.call('HGET', NODES, earlier))
if reported then
  if reported < tonumber(term) then redis.call('HINCRBY', TERM, 'unreported', -1) end
  redis.call('HSET', NODES, earlier, 'old')
end
redis.call('HSET', NODES, number, term)
return redis.status_reply('OK')
