-- Stores how far the node has delivered, and keeps its mark before this one.
-- ARGV: the stamp up to which everything was delivered, then for each connection to which something was not: its id, how far
-- it has received its streams.

local refused = refusal()
if refused then return refused end

local MORE_MS = 60000
local last, before = prefix .. 'mark:' .. node, prefix .. 'mark_before:' .. node
if redis.call('EXISTS', last) == 1 then redis.call('RENAME', last, before) end
local fields = { 'delivered', ARGV[FIRST] }
for i = FIRST + 1, #ARGV, 2 do
  table.insert(fields, 'k' .. ARGV[i])
  table.insert(fields, ARGV[i + 1])
end
redis.call('HSET', last, unpack(fields))
redis.call('PEXPIRE', last, grace_ms + MORE_MS)
return OK
