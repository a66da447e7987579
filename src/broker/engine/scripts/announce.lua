-- Appends a report of presence, unless another node has announced something since the last report that the node knows.
-- ARGV: stream, the offset of that report, record.
-- Returns 1 if it was appended, else 0.

local refused = refusal()
if refused then return refused end

local after = tonumber(ARGV[FIRST + 1])
local stream = open(ARGV[FIRST])
local is_new = stream ~= nil and stream.announced == after
if is_new then
  append(stream, ARGV[FIRST + 2])
  change(stream, 'announced', stream.offset)
end
save_streams()
return is_new and 1 or 0
