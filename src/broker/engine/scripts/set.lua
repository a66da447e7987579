-- A node states how many connections of users it has. The numbers are absolute, so that it can state them again at any time.
-- ARGV: '1' if no presence event is published, then for each count: stream, user, connections (see presence.lua), view. The
-- stream of a user begins if it is missing. A channel that is missing is left out.

local refused = refusal()
if refused then return refused end

local is_quiet = ARGV[FIRST] == '1'
for i = FIRST + 1, #ARGV, 4 do
  local name, stated = ARGV[i], tonumber(ARGV[i + 2])
  local stream = open(name)
  if not stream and stated > 0 and not is_channel(name) then stream = open_private(name, 0) end
  if stream then count(node, stream, ARGV[i + 1], stated, ARGV[i + 3], is_quiet) end
end
save_streams()
return OK
