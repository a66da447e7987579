-- A process states how many messages it has counted since its start. Redis adds them up, so that the sums do not go back when
-- a process ends. It remembers each process for a day after its last call.
-- ARGV: process, messages, messages queued to connections.
-- Returns the sums of the cluster: users that are remembered, present users, their connections, channels, messages, messages
-- queued to connections.

local REMEMBERED_MS = 86400000
if not current_term().number then return status('NO_TERM') end

local key, counted = prefix .. 'tally:' .. ARGV[FIRST], { 0, 0 }
local last = redis.call('GET', key)
if last then counted = { struct.unpack('<I8I8', last) } end
for i, name in ipairs({ 'messages', 'queued' }) do
  -- Calls of several threads may arrive in another order.
  local by = tonumber(ARGV[FIRST + i]) - counted[i]
  if by > 0 then
    redis.call('HINCRBY', TERM, name, by)
    counted[i] = counted[i] + by
  end
end
redis.call('SET', key, struct.pack('<I8I8', counted[1], counted[2]), 'PX', REMEMBERED_MS)

local sums = redis.call('HMGET', TERM, 'remembered', 'users', 'connections', 'messages', 'queued')
for i, sum in ipairs(sums) do sums[i] = tonumber(sum or '0') end
table.insert(sums, 4, redis.call('SCARD', CHANNELS))
return sums
