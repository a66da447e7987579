-- Makes the node the owner of a connection whose owner has agreed.
-- ARGV: connection, its owner, its generation.
-- Returns one of: TAKEN, generation, data; CHANGED, owner, generation; NONE.

local refused = refusal()
if refused then return refused end

local row = find_row(ARGV[FIRST])
if not row then return { 'NONE' } end
if row.owner ~= ARGV[FIRST + 1] or row.generation ~= tonumber(ARGV[FIRST + 2]) then
  return { 'CHANGED', tonumber(row.owner), row.generation }
end
local reply = { 'TAKEN', own(row), row.data }
finish()
return reply
