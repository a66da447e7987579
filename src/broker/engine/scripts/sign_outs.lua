-- Exchanges which sign-ins to the console have ended.
-- ARGV: time in µs since 1970, then ids of sign-ins that have ended at the node.
-- Returns the time of this call, and the ids of those that have ended at any node since the given time.

-- As long as the cookie of a sign-in is valid, and no more than an operator causes.
local KEY, KEPT_S, MOST = prefix .. 'sign_outs', 43200, 10000

for i = FIRST + 1, #ARGV do redis.call('ZADD', KEY, 'NX', now(), ARGV[i]) end
if #ARGV > FIRST then
  redis.call('ZREMRANGEBYSCORE', KEY, '-inf', now() - KEPT_S * 1000000)
  redis.call('ZREMRANGEBYRANK', KEY, 0, -MOST - 1)
  redis.call('PEXPIRE', KEY, KEPT_S * 1000)
end
return { now(), redis.call('ZRANGEBYSCORE', KEY, ARGV[FIRST], '+inf') }
