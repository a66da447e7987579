-- Publishes messages, each in a channel or in the private stream of a user.
-- ARGV: node, boot, number of the call, epoch for a new stream, ms for which keys are kept, maximum frames of a channel and of
-- a user, maximum history, then for each item: stream, record, idempotency key or ''.
-- Returns one answer for each item, joined: status, epoch, offset, stamp, connections.

local OK, NO_CHANNEL, REPLAYED = '\0', '\1', '\2'
local node, boot, number, epoch, window = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local max_channel_frames, max_user_frames, max_history = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

local refused = refusal(node)
if refused then return redis.status_reply(refused) end
local earlier = answered(boot, number)
if earlier then return earlier end

local function append_history(stream, record)
  if not has(stream.flags, STORE_HISTORY) or has(flags_of(record), NO_HISTORY) then return end
  local size = stream.history == 0 and max_history or math.min(stream.history, max_history)
  local key = prefix .. 'hist:' .. stream.name
  if size == 0 then return end
  redis.call('RPUSH', key, record)
  redis.call('LTRIM', key, -size, -1)
end

local function publish(name, record)
  local is_channel = string.byte(name) == 99
  local stream = find(name)
  if is_channel and not stream then return NO_CHANNEL .. string.rep('\0', 28) end
  stream = open(name, epoch, { flags = STORE_FRAMES, history = 0 })
  append_history(stream, record)
  local offset, stamp = append(stream, record, is_channel and max_channel_frames or max_user_frames)
  return OK .. stream.epoch .. struct.pack('<I8I8I4', offset, stamp, stream.connections)
end

local answers = {}
for i = 9, #ARGV, 3 do
  local name, record, item = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = item ~= '' and prefix .. 'key:' .. item
  local before = key and redis.call('GET', key)
  local answer
  if before then
    answer = REPLAYED .. string.sub(before, 2)
  else
    answer = publish(name, record)
    if key and string.sub(answer, 1, 1) == OK then redis.call('SET', key, answer, 'PX', window) end
  end
  table.insert(answers, answer)
end
save_streams()
return keep(boot, number, table.concat(answers))
