-- Sends bytes to the mailbox of a node.
-- ARGV: node, bytes.
-- Returns how many subscribers the mailbox has.

return publish(ARGV[FIRST], text('\1\2' .. ARGV[FIRST + 1]))
