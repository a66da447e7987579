-- Rows of connections. The owner of a connection is the node that runs its timers; generations tell its owners apart.

-- A row of the user was deleted. `ROWS` counts those of each user.
local function uncount_row(user)
  if redis.call('HINCRBY', ROWS, user, -1) <= 0 then redis.call('HDEL', ROWS, user) end
end

local function find_row(conn)
  local key = prefix .. 'conn:' .. conn
  local values = redis.call('HMGET', key, 'owner', 'generation', 'user', 'data', 'last_owner')
  if not values[1] then return nil end
  return { conn = conn, key = key, owner = values[1], generation = tonumber(values[2]), user = values[3], data = values[4],
    last_owner = values[5] }
end

-- The calling node becomes the owner. Returns the new generation.
local function own(row)
  local field, generation = 'k' .. row.conn, next_stamp()
  redis.call('HDEL', prefix .. 'own:' .. row.owner, field)
  redis.call('HSET', prefix .. 'own:' .. node, field, '1')
  redis.call('ZREM', EXPIRY, field)
  redis.call('HSET', row.key, 'owner', node, 'generation', generation)
  return generation
end

-- A connection has no owner. Its row stays for a while, for a client that returns.
local function free(conn)
  redis.call('HSET', prefix .. 'conn:' .. conn, 'owner', '0')
  redis.call('ZADD', EXPIRY, now() + grace_ms * 1000, 'k' .. conn)
end

-- A row, if the calling node owns it in this generation.
local function own_row(conn, generation)
  local row = find_row(conn)
  return row and row.owner == node and row.generation == tonumber(generation) and row or nil
end
