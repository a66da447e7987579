-- Removes what a dead node held, in parts. Its members part, unless another node has connections of them. A node also removes
-- what it held under an earlier number.
-- ARGV: the number, '1' if no presence event is published.
-- Returns how much is left; ALIVE if it is another node that is not dead; SETTLING as long as nodes have not reported.

local SOME, REMEMBERED_US = 200, 3600000000
local dead, is_quiet = ARGV[FIRST], ARGV[FIRST + 1] == '1'
local own, current, state = prefix .. 'own:' .. dead, current_term(), redis.call('HGET', NODES, dead)
if not state then return 0 end
local reported = tonumber(state)
if reported and dead ~= node and redis.call('SISMEMBER', DEAD, dead) == 0 then return status('ALIVE') end

-- It may have seen entries that no other node has seen, and that a failover lost: no epoch can be trusted.
if reported and reported < current.number then
  current.retire, current.unreported = current.number, current.unreported - 1
  redis.call('HSET', TERM, 'retire', current.number, 'store', string.sub(epoch, 1, 6), 'unreported', current.unreported)
end
redis.call('HSET', NODES, dead, 'swept')
if current.unreported > 0 then return status('SETTLING') end

-- Some fields, at least one if there is one. The ones of earlier calls are gone, so that each call begins from the start.
local function some_fields()
  local cursor, found = '0', {}
  repeat
    local scanned = redis.call('HSCAN', own, cursor, 'COUNT', SOME)
    cursor = scanned[1]
    for i = 1, #scanned[2], 2 do table.insert(found, scanned[2][i]) end
  until #found > 0 or cursor == '0'
  table.sort(found)
  return found
end

local function free_row(conn)
  local key = prefix .. 'conn:' .. conn
  if redis.call('HGET', key, 'owner') ~= dead then return end
  redis.call('HSET', key, 'last_owner', dead)
  free(conn)
end

for _, field in ipairs(some_fields()) do
  local kind, rest = string.sub(field, 1, 1), string.sub(field, 2)
  if kind == 'i' then
    local stream = find(rest)
    if stream then follow(dead, stream, false) end
  elseif kind == 'm' then
    local name, user = read_count_field(field)
    local stream = open(name)
    if stream then count(dead, stream, user, 0, '', is_quiet) end
  else
    free_row(rest)
  end
  redis.call('HDEL', own, field)
end
local left = redis.call('HLEN', own)
if left == 0 then
  redis.call('SREM', DEAD, dead)
  redis.call('ZREM', BEATS, dead)
  redis.call('HDEL', INFO, dead)
  redis.call('ZADD', EXPIRY, now() + REMEMBERED_US, 'n' .. dead)
end
save_streams()
return left
