-- Reads the row of a connection.
-- ARGV: connection.
-- Returns nil if there is none, else: owner or 0, generation, user, data, 1 if the owner is alive.

local row = find_row(ARGV[FIRST])
if not row then return false end
return { tonumber(row.owner), row.generation, row.user, row.data, is_known(row.owner) and 1 or 0 }
