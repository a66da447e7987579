-- The node no longer receives what happens in streams.
-- ARGV: the streams.

local refused = refusal()
if refused then return refused end

for i = FIRST, #ARGV do
  local stream = find(ARGV[i])
  if stream then follow(node, stream, false) end
end
save_streams()
return OK
