-- The node is alive. Nodes that have been silent for too long are dead.
-- ARGV: what other nodes show of this one, or '' if it has not changed.
-- Returns a stamp, the epoch of stamps, and the dead nodes that still hold something.

local info = ARGV[FIRST]
if not is_known(node) or not redis.call('ZSCORE', BEATS, node) then return status('FENCED') end

-- Silence counts only while Redis answers: after an outage all nodes have the full time.
local times = redis.call('HMGET', TERM, 'last_beat', 'resumed')
local last_beat, resumed = tonumber(times[1] or '0'), tonumber(times[2])
if now() - last_beat > 2 * beat_ms * 1000 then resumed = now() end
redis.call('HSET', TERM, 'last_beat', now(), 'resumed', resumed)
redis.call('ZADD', BEATS, now(), node)
if info ~= '' then redis.call('HSET', INFO, node, info) end

local latest = now() - dead_ms * 1000
if resumed < latest then
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', BEATS, '-inf', '(' .. string.format('%.0f', latest))) do
    redis.call('ZREM', BEATS, other)
    redis.call('SADD', DEAD, other)
    redis.call('HDEL', INFO, other)
  end
end
local reply = redis.call('SMEMBERS', DEAD)
table.sort(reply)
table.insert(reply, 1, current_term().store)
table.insert(reply, 1, next_stamp())
finish()
return reply
