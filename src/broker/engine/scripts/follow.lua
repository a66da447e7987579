-- The node receives what happens in a stream from now on. The stream of a user begins behind the offset if it is missing.
-- ARGV: stream, offset behind which it is read, maximum bytes of entries.
-- Returns nil for an unknown channel, else what snapshot.lua describes, with history and members.

local refused = refusal()
if refused then return refused end

local name = ARGV[FIRST]
local stream
if is_channel(name) then stream = open(name) else stream = open_private(name, tonumber(ARGV[FIRST + 1])) end
if not stream then return false end
raise_offset(stream, tonumber(ARGV[FIRST + 1]))
follow(node, stream, true)
save_streams()
return snapshot(stream, tonumber(ARGV[FIRST + 1]), tonumber(ARGV[FIRST + 2]), true, true)
