-- Makes the node the owner of a connection that is new, its own, or without a living owner.
-- ARGV: connection, user, data of a new one, the most connections of the user or 0.
-- Returns one of: NEW, generation; FULL, if the user has too many connections; FOREIGN, if the connection belongs to another
-- user; OWN, generation, data; OTHER, owner, generation, data, if another node is the owner; TAKEN, generation, data, and nil
-- or what the mark of the last owner states: the stamp up to which it had delivered everything, and how far the connection had
-- received its streams, or '' if it was no laggard.

local refused = refusal()
if refused then return refused end

local conn, user, data, most = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2], tonumber(ARGV[FIRST + 3])

-- The mark before the last one: what the node had delivered then has had the time to arrive.
local function mark_of(owner)
  local values = redis.call('HMGET', prefix .. 'mark_before:' .. owner, 'delivered', 'k' .. conn)
  return values[1] and { tonumber(values[1]), values[2] or '' }
end

local row = find_row(conn)
local reply
if not row and most > 0 and tonumber(redis.call('HGET', ROWS, user) or '0') >= most then
  reply = { 'FULL' }
elseif not row then
  redis.call('HINCRBY', ROWS, user, 1)
  row = { conn = conn, key = prefix .. 'conn:' .. conn, owner = '0' }
  redis.call('HSET', row.key, 'user', user, 'data', data)
  reply = { 'NEW', own(row) }
elseif row.user ~= user then
  reply = { 'FOREIGN' }
elseif row.owner == node then
  reply = { 'OWN', own(row), row.data }
elseif is_known(row.owner) then
  reply = { 'OTHER', tonumber(row.owner), row.generation, row.data }
else
  local last_owner = row.owner == '0' and row.last_owner or row.owner
  reply = { 'TAKEN', own(row), row.data, last_owner and mark_of(last_owner) or false }
end
finish()
return reply
