-- Agrees on the secret that signs the cookies of operators, for nodes whose settings give none. The first proposal counts.
-- ARGV: the proposal of the node.
-- Returns the secret of all nodes.

local META = prefix .. 'meta'
redis.call('HSETNX', META, 'cookie_secret', ARGV[FIRST])
return redis.call('HGET', META, 'cookie_secret')
