-- Takes over a call. KEYS: its record, the calls of the lost edge, those of the new one, the edges that have calls. ARGV: the
-- call, the lost edge, the new one, the highest epoch known, for how long.
local was = redis.call('HMGET', KEYS[1], 'e', 'o', 'b', 'x')
if not was[1] or was[4] then return {'gone'} end
if was[2] == ARGV[3] then return {'ours', was[1], was[3]} end
if was[2] ~= ARGV[2] then return {'theirs', was[2], was[1]} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = string.format('%.0f', now + tonumber(ARGV[5]))
local epoch = string.format('%.0f', math.max(tonumber(was[1]), tonumber(ARGV[4])) + 1)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('HSET', KEYS[1], 'e', epoch, 'o', ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], ends, ARGV[1])
local last = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
last = string.format('%.0f', tonumber(last))
redis.call('PEXPIREAT', KEYS[3], last)
redis.call('ZADD', KEYS[4], last, ARGV[3])
local longest = redis.call('ZREVRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[4], string.format('%.0f', tonumber(longest)))
return {'ours', epoch, was[3]}
