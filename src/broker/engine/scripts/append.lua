-- Publishes messages, each in a channel or in the private stream of a user.
-- ARGV: those of once.lua, then for each item: stream, record, part of a request with an idempotency key or ''.
-- Returns one answer for each item, joined; see message.lua.

local refused = refusal() or answered()
if refused then return refused end

-- Returns whether the history keeps the record.
local function append_history(stream, bytes)
  local size = stream.history == 0 and max_history or math.min(stream.history, max_history)
  if size == 0 or not has(stream.flags, STORE_HISTORY) or has(flags_of(bytes), NO_HISTORY) then return false end
  stream.messages = stream.messages or {}
  table.insert(stream.messages, bytes)
  stream.history_size = size
  return true
end

local function publish_item(name, bytes)
  local stream = open(name)
  if not stream then return NO_STREAM end
  local is_in_history = append_history(stream, bytes)
  local is_in_log = append(stream, bytes)
  return answer(stream, is_in_log, is_in_history)
end

local answers = {}
for i = FIRST_OF_NUMBERED, #ARGV, 3 do
  table.insert(answers, publish_once(ARGV[i + 2], publish_item, ARGV[i], ARGV[i + 1]))
end
for name, stream in pairs(streams) do
  if stream.messages then
    push(prefix .. 'hist:' .. name, stream.messages)
    redis.call('LTRIM', prefix .. 'hist:' .. name, -stream.history_size, -1)
  end
end
save_streams()
return keep(table.concat(answers))
