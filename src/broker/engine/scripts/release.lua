-- Gives up a connection that the node owns, for another node or for a client that returns.
-- ARGV: connection, its generation or '' for any, data or '' to keep what the row contains.
-- Returns 1, or 0 if the node does not own it in this generation.

local refused = refusal()
if refused then return refused end

local conn, generation, data = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2]
local row = find_row(conn)
if not row or row.owner ~= node or (generation ~= '' and row.generation ~= tonumber(generation)) then return 0 end
if data ~= '' then redis.call('HSET', row.key, 'data', data) end
-- No mark counts: the data is exact, or the node does not know the connection.
redis.call('HDEL', row.key, 'last_owner')
redis.call('HDEL', prefix .. 'own:' .. node, 'k' .. conn)
free(conn)
return 1
