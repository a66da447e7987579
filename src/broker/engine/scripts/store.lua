-- Replaces the data of rows that the node owns.
-- ARGV: for each row: connection, generation, data.
-- Returns for each row 1, or 0 if the node does not own it in this generation.

local refused = refusal()
if refused then return refused end

local stored = {}
for i = FIRST, #ARGV, 3 do
  local row = own_row(ARGV[i], ARGV[i + 1])
  if row then redis.call('HSET', row.key, 'data', ARGV[i + 2]) end
  table.insert(stored, row and 1 or 0)
end
return stored
