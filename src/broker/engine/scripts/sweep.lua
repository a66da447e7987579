-- Removes what a dead node held, in parts. Its members part, unless another node counts them.
-- ARGV: node, '1' if no event is published, uuid, maximum frames of a channel.
-- Returns how much is left.

local SOME = 200
local node, is_quiet, max_frames = ARGV[1], ARGV[2] == '1', tonumber(ARGV[4])
local term, reported = tonumber(redis.call('HGET', TERM, 'term')), tonumber(redis.call('HGET', NODES, node))
-- It may have seen entries that no other node has seen, and that a failover lost: no epoch can be trusted.
if reported and reported < term then
  redis.call('HSET', TERM, 'retire', term)
  redis.call('HINCRBY', TERM, 'unreported', -1)
end
redis.call('HSET', NODES, node, 'swept')

-- Some fields, at least one if there is one. The ones of earlier calls are gone, so that each call begins from the start.
local function some_fields(own)
  local cursor, found = '0', {}
  repeat
    local scanned = redis.call('HSCAN', own, cursor, 'COUNT', SOME)
    cursor = scanned[1]
    for i = 1, #scanned[2], 2 do table.insert(found, scanned[2][i]) end
  until #found > 0 or cursor == '0'
  table.sort(found)
  return found
end

local own, next_uuid = prefix .. 'own:' .. node, uuids(ARGV[3])
for _, field in ipairs(some_fields(own)) do
  local kind, rest = string.sub(field, 1, 1), string.sub(field, 2)
  if kind == 'i' then
    local stream = find(rest)
    if stream then interest(node, stream, false) else redis.call('HDEL', own, field) end
  elseif kind == 'm' then
    local at = string.find(rest, '\0', 1, true)
    local stream = find(string.sub(rest, 1, at - 1))
    if stream then
      count(node, stream, string.sub(rest, at + 1), 0, '', next_uuid, max_frames, is_quiet)
    else
      redis.call('HDEL', own, field)
    end
  end
end
save_streams()
return redis.call('HLEN', own)
