-- Records, as far as scripts read and write them; src/broker/engine/record.rs describes all of it.

local MESSAGE, EDIT, DELETE, JOINED, PARTED, SETTINGS, NUMBERS, STATE = 1, 2, 3, 4, 5, 6, 7, 8
local USER, EPOCH_END, BLOCK = 11, 12, 13
local NO_UUID, NO_ZONE = ('\0'):rep(16), -32768

-- A record that a script makes up. `fields` have their lengths in front.
local function record(kind, uuid, time, fields)
  return '\1' .. string.char(kind) .. '\0' .. uuid .. struct.pack('<I8i2I8i2', time, NO_ZONE, 0, NO_ZONE) .. fields
end

-- A field with a number.
local function number_field(number) return struct.pack('<I4I8', 8, number) end
