-- What every script begins with. KEYS[1] is the prefix of the partition, for example "cs:{0}:"; all other keys begin with it.

local prefix = KEYS[1]
local TERM, NODES = prefix .. 'term', prefix .. 'nodes'

-- µs since 1970, read once for each call.
local clock
local function now()
  if not clock then
    local time = redis.call('TIME')
    clock = time[1] * 1000000 + time[2]
  end
  return clock
end

-- Why a node may change nothing: other nodes have declared it dead, or Redis does not know it; or nodes have not yet
-- reported what they saw before a failover.
local function refusal(node)
  if not tonumber(redis.call('HGET', NODES, node)) then return 'FENCED' end
  if redis.call('HGET', TERM, 'unreported') > '0' then return 'SETTLING' end
end

-- A stamp is a time that never repeats within the partition.
local last_stamp
local function next_stamp()
  last_stamp = last_stamp or tonumber(redis.call('HGET', TERM, 'stamp'))
  last_stamp = math.max(now(), last_stamp + 1)
  return last_stamp
end

-- What the mailboxes of nodes receive at the end of the call, by node.
local mail = {}
local function deliver(node, entry)
  if mail[node] then table.insert(mail[node], entry) else mail[node] = { entry } end
end

local function finish()
  if last_stamp then redis.call('HSET', TERM, 'stamp', last_stamp) end
  for node, entries in pairs(mail) do
    redis.call('SPUBLISH', prefix .. 'box:' .. node, table.concat(entries))
  end
end
