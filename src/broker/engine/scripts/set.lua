-- A node states its counts and its interests. They are absolute, so that it can state them again at any time.
-- ARGV: node, '1' if no event is published, epoch for new streams, flags and history size of new channels, uuid, maximum
-- frames of a channel, number of counts, then for each count: stream, user, connections, public state; then for each
-- interest: stream, '1' or '0'.

local node, is_quiet, epoch, uuid, max_frames = ARGV[1], ARGV[2] == '1', ARGV[3], ARGV[6], tonumber(ARGV[7])
local defaults = { flags = tonumber(ARGV[4]), history = tonumber(ARGV[5]) }
local first_interest = 9 + 4 * tonumber(ARGV[8])

local refused = refusal(node)
if refused then return redis.status_reply(refused) end

local function opened(name)
  local is_channel = string.byte(name) == 99
  return open(name, epoch, is_channel and defaults or { flags = STORE_FRAMES, history = 0 })
end

local next_uuid = uuids(uuid)
-- Interests first: a node receives the events of its own members.
for i = first_interest, #ARGV, 2 do
  local is_on = ARGV[i + 1] == '1'
  if is_on or find(ARGV[i]) then interest(node, opened(ARGV[i]), is_on) end
end
for i = 9, first_interest - 1, 4 do
  local connections = tonumber(ARGV[i + 2])
  if connections > 0 or find(ARGV[i]) then
    count(node, opened(ARGV[i]), ARGV[i + 1], connections, ARGV[i + 3], next_uuid, max_frames, is_quiet)
  end
end
save_streams()
return redis.status_reply('OK')
