-- A node reports the streams of which it has entries that this Redis has lost. Their epochs end.
-- ARGV: the greatest stamp that the node has seen, then for each stream: its key, the last offset that the node has seen.

local current = current_term()
if not current.number then return status('NO_TERM') end
raise_stamp(tonumber(ARGV[FIRST]))
local state = redis.call('HGET', NODES, node)
-- If this Redis has lost a node, it may have lost others as well, which do not report: no epoch can be trusted.
if not state and current.retire < current.number then
  current.retire = current.number
  redis.call('HSET', TERM, 'retire', current.number, 'store', string.sub(epoch, 1, 6))
end
for i = FIRST + 1, #ARGV, 2 do
  local stream = find(ARGV[i])
  if stream then
    -- An epoch of this term has lost nothing.
    if stream.term < current.number then retire(stream) end
    raise_offset(stream, tonumber(ARGV[i + 1]))
  end
end
local reported = tonumber(state or '')
if reported and reported < current.number then
  redis.call('HSET', NODES, node, current.number)
  redis.call('HINCRBY', TERM, 'unreported', -1)
end
save_streams()
return OK
