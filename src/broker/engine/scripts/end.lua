-- Deletes rows that the node owns.
-- ARGV: for each row: connection, generation.
-- Returns for each row 1, or 0 if the node does not own it in this generation.

local refused = refusal()
if refused then return refused end

local ended = {}
for i = FIRST, #ARGV, 2 do
  local row = own_row(ARGV[i], ARGV[i + 1])
  if row then
    redis.call('DEL', row.key)
    uncount_row(row.user)
    redis.call('HDEL', prefix .. 'own:' .. node, 'k' .. row.conn)
  end
  table.insert(ended, row and 1 or 0)
end
return ended
