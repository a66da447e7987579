-- Removes the block of a user, and notifies all nodes.
-- ARGV: user.
-- Returns 1 if there was one, else 0.

local refused = refusal()
if refused then return refused end

local removed = remove_block(ARGV[FIRST])
finish()
return removed
