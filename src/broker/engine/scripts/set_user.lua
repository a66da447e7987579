-- Replaces the record of a user, and notifies the nodes that show the user.
-- ARGV: user, the version that is replaced or '0', record, view, changed part of the state or ''.
-- Returns the new version, or what read_user.lua returns if the record has another version; nothing was done then.

local refused = refusal()
if refused then return refused end

local user, expected, user_record, view, changes =
  ARGV[FIRST], tonumber(ARGV[FIRST + 1]), ARGV[FIRST + 2], ARGV[FIRST + 3], ARGV[FIRST + 4]
local key = prefix .. 'user:' .. user
local before = redis.call('GET', key)
if expected ~= (before and struct.unpack('<I8', before) or 0) then return stored_user(before) end

-- A stamp, so that a record that was removed and created again has another version.
local version = next_stamp()
redis.call('SET', key, struct.pack('<I8', version) .. text(view) .. user_record)

local function show(stream)
  local members = prefix .. 'members:' .. stream.name
  local member = redis.call('HGET', members, user)
  redis.call('HSET', members, user, string.sub(member, 1, 4) .. struct.pack('<I8', version) .. view)
  local change_field = changes == '' and struct.pack('<I4', 4294967295) or text(changes)
  local event = record(STATE, next_uuid(), now(), text(user) .. view .. change_field)
  if changes ~= '' and has(stream.flags, NOTIFY_STATE) then append(stream, event) else send(stream, NOTE, event) end
end

local channels = redis.call('HKEYS', prefix .. 'in:' .. user)
table.sort(channels)
for _, name in ipairs(channels) do show(open(name)) end

local private = open('u' .. user)
if private then send(private, NOTE, record(USER, NO_UUID, 0, number_field(version) .. text(user_record))) end
if not private or private.connections == 0 then plan_removal('u' .. user) end
save_streams()
return version
