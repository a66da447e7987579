-- Lists the nodes that are alive.
-- Returns for each node: number, ms since its last beat, what other nodes show of it.

local listed, beats = {}, redis.call('ZRANGE', BEATS, 0, -1, 'WITHSCORES')
for i = 1, #beats, 2 do
  local info = redis.call('HGET', INFO, beats[i])
  -- A number that its node has replaced has none.
  if info then table.insert(listed, { beats[i], math.max(math.floor((now() - beats[i + 1]) / 1000), 0), info }) end
end
return listed
