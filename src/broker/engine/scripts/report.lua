-- A node reports the streams of which it has entries that this Redis has lost. Their epochs end.
-- ARGV: node, new epoch, then the streams.

local node, epoch = ARGV[1], ARGV[2]
local term = tonumber(redis.call('HGET', TERM, 'term'))
if not term then return redis.status_reply('NO_TERM') end
for i = 3, #ARGV do
  local stream = find(ARGV[i])
  if stream then retire(stream, epoch, term) end
end
local reported = tonumber(redis.call('HGET', NODES, node))
if reported and reported < term then
  redis.call('HSET', NODES, node, term)
  redis.call('HINCRBY', TERM, 'unreported', -1)
end
save_streams()
return redis.status_reply('OK')
